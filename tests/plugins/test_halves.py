"""A weight beyond the largest fp16 number is refused where it would become fp16."""

from __future__ import annotations

from typing import Any

import pytest

from phibuild.api import ModelFacts, RecipeError, Tensor, parse_recipe
from phibuild.engine.workshop import Workshop
from phibuild.registry import Registry

NAME = "model.layers.0.mlp.down_proj.weight"
ARCHITECTURE = {
    "model_type": "phi3",
    "architectures": ["Phi3ForCausalLM"],
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_attention_heads": 4,
    "max_position_embeddings": 4096,
    "original_max_position_embeddings": 4096,
    "vocab_size": 1056,
}
HALVES: list[tuple[str, dict[str, Any]]] = [
    ("GGUF", {"quant": "F16"}),
    ("GGUF", {"quant": "Q4_K_M"}),
    ("GGUF", {"target_bytes": "2 GB"}),
    ("OnnxGenAI", {"precision": "fp16"}),
    ("OnnxGenAI", {"precision": "fp16", "execution_provider": "cuda"}),
    ("OnnxGenAI", {"precision": "int4", "execution_provider": "cuda"}),
    ("OpenVINO", {"precision": "fp16"}),
    ("OpenVINO", {"precision": "int4"}),
    ("MLX", {"precision": "fp16"}),
    ("MLX", {"precision": "int4", "dtype": "float16"}),
]
WIDER: list[tuple[str, dict[str, Any]]] = [
    ("GGUF", {"quant": "F32"}),
    ("GGUF", {"quant": "BF16"}),
    ("OnnxGenAI", {"precision": "fp32"}),
    ("OnnxGenAI", {"precision": "int4"}),
    ("OpenVINO", {"precision": "fp32"}),
    ("MLX", {"precision": "bf16"}),
    ("MLX", {"precision": "fp32"}),
    ("MLX", {"precision": "int4"}),
]


def a_model(largest: float, dtype: str = "BF16") -> ModelFacts:
    """A model with one matrix, with this largest absolute value."""
    return ModelFacts(ARCHITECTURE, (Tensor(NAME, dtype, (256, 512), 1 << 18, largest=largest),))


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Workshop.open().registry


def check(registry: Registry, builder: str, fields: dict[str, Any], model: ModelFacts) -> None:
    offer = registry.backend_of_builder(builder)
    offer.check(parse_recipe(offer.recipe, fields, builder=builder), model, {})


@pytest.mark.parametrize(("builder", "fields"), HALVES)
def test_a_weight_too_large_for_halves_is_named(
    registry: Registry, builder: str, fields: dict[str, Any]
) -> None:
    with pytest.raises(RecipeError) as caught:
        check(registry, builder, fields, a_model(70000.0))
    assert caught.value.code == "PHI203"
    assert NAME in str(caught.value)
    assert "70000" in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(("builder", "fields"), HALVES)
def test_the_largest_half_is_built(
    registry: Registry, builder: str, fields: dict[str, Any]
) -> None:
    check(registry, builder, fields, a_model(65504.0))


@pytest.mark.parametrize(("builder", "fields"), WIDER)
def test_wider_types_hold_it(registry: Registry, builder: str, fields: dict[str, Any]) -> None:
    check(registry, builder, fields, a_model(70000.0))
