"""The actions of the ONNX backend: graph and weights, the small files beside them, and asking."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from phibuild.api import (
    Action,
    Assembly,
    FileInput,
    ModelFacts,
    Part,
    frozen_recipe,
    recipe_values,
)
from phibuild_onnx.recipe import OnnxRecipe

_HERE = Path(__file__).parent


def plan(recipe: OnnxRecipe, model: ModelFacts, extras: Mapping[str, FileInput]) -> Assembly:
    """The builder's graph beside the files that tell the runtime of tokens and sampling. Ids and
    templates change those files alone: the builder sees neither."""
    weights = _weights(recipe, extras)
    sidecar = Action(
        name="onnx.sidecar",
        worker=_HERE / "worker_sidecar.py",
        toolchain="host",
        slices=("architecture", "tokenizer", "chat_template", "generation"),
        inputs=(("base", Part(weights, "base/genai_config.json")),),
    )
    return Assembly("onnx", (("model", Part(weights, "model")), ("sidecar", sidecar)))


def _weights(recipe: OnnxRecipe, extras: Mapping[str, FileInput]) -> Action:
    """The build, with the builder's defaults spelt out."""
    fields = {
        name: value
        for name, value in recipe_values(recipe).items()
        if not name.startswith("exclude")
    }
    if recipe.precision in ("int4", "int8"):
        defaults = {
            "block_size": 32,
            "accuracy_level": 4 if recipe.execution_provider in ("cpu", "webgpu") else 0,
            "is_symmetric": True,
            "algo_config": "default",
        }
        fields = defaults | fields
    return Action(
        name="onnx.weights",
        worker=_HERE / "worker_weights.py",
        toolchain="onnx",
        recipe=frozen_recipe(fields),
        slices=("weights", "architecture"),
        inputs=tuple(extras.items()),
    )


def generate(artifact: FileInput, prompt: str, max_tokens: int) -> Action:
    """What the artifact answers, by greedy decoding."""
    return Action(
        name="onnx.generate",
        worker=_HERE / "worker_generate.py",
        toolchain="onnx",
        recipe=frozen_recipe({"prompt": prompt, "max_tokens": max_tokens}),
        inputs=(("artifact", artifact),),
    )


def bits_per_weight(recipe: OnnxRecipe) -> float:
    """Those of a weight of a matrix and its share of the block's scale; the embedding has more."""
    bits = {"int4": 4, "int8": 8, "fp16": 16, "fp32": 32}[recipe.precision]
    scale = 32 if recipe.execution_provider == "cpu" else 16
    return bits + (scale / (recipe.block_size or 32) if bits < 16 else 0)


def label(recipe: OnnxRecipe) -> str:
    """What the summary shows: precision and provider."""
    return f"{recipe.precision} {recipe.execution_provider}"
