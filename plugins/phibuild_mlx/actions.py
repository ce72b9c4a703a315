"""The actions of the MLX backend: the weights, the small files beside them, and asking."""

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
)
from phibuild_mlx.recipe import FLOATS, INTEGERS, MlxRecipe, quantization_of

_HERE = Path(__file__).parent
_OF_THE_CHECKPOINT = "source"


def plan(recipe: MlxRecipe, model: ModelFacts, extras: Mapping[str, FileInput]) -> Assembly:
    """mlx-lm's weights beside the files that tell it of tokens and sampling. Ids and templates
    change those files alone: the conversion sees neither."""
    weights = _weights(recipe)
    sidecar = Action(
        name="mlx.sidecar",
        worker=_HERE / "worker_sidecar.py",
        toolchain="host",
        slices=("architecture", "tokenizer", "chat_template", "generation"),
        inputs=(("base", Part(weights, "base/config.json")),),
    )
    return Assembly("mlx", (("model", Part(weights, "model")), ("sidecar", sidecar)))


def _weights(recipe: MlxRecipe) -> Action:
    """The conversion, with every default of mlx-lm's spelt out."""
    quantization = quantization_of(recipe)
    if quantization is None:
        fields: dict[str, object] = {"quantize": False, "dtype": FLOATS[recipe.precision or ""]}
    else:
        fields = {
            "quantize": True,
            "bits": quantization.bits,
            "group_size": quantization.group_size,
            "mode": quantization.mode,
            "quant_predicate": quantization.quant_predicate,
            "dtype": recipe.dtype or _OF_THE_CHECKPOINT,
        }
    return Action(
        name="mlx.weights",
        worker=_HERE / "worker_weights.py",
        toolchain="mlx",
        recipe=frozen_recipe(fields),
        slices=("weights", "architecture"),
    )


def generate(artifact: FileInput, prompt: str, max_tokens: int) -> Action:
    """What the artifact answers, by greedy decoding."""
    return Action(
        name="mlx.generate",
        worker=_HERE / "worker_generate.py",
        toolchain="mlx",
        recipe=frozen_recipe({"prompt": prompt, "max_tokens": max_tokens}),
        inputs=(("artifact", artifact),),
    )


def bits_per_weight(recipe: MlxRecipe) -> float:
    """Those of a weight and its share of the group's scale: affine has an offset of 16 bits beside
    a scale of 16, the floating point modes a scale of 8."""
    quantization = quantization_of(recipe)
    if quantization is None:
        return 32 if recipe.precision == "fp32" else 16
    shared = 32 if quantization.mode == "affine" else 8
    return quantization.bits + shared / quantization.group_size


def label(recipe: MlxRecipe) -> str:
    """What the summary shows: a precision where there is a word for it, else mode or bits."""
    quantization = quantization_of(recipe)
    if quantization is None:
        return recipe.precision or ""
    if quantization.quant_predicate is not None:
        return quantization.quant_predicate
    if quantization.mode != "affine":
        return quantization.mode
    names = {bits: name for name, bits in INTEGERS.items()}
    return names.get(quantization.bits, f"{quantization.bits} bits")
