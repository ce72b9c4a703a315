"""The actions of the MLX backend: one converts a checkpoint, one asks an artifact."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from phibuild.api import Action, FileInput, ModelFacts, frozen_recipe
from phibuild_mlx.recipe import FLOATS, INTEGERS, MlxRecipe, quantization_of

_HERE = Path(__file__).parent
_OF_THE_CHECKPOINT = "source"


def plan(recipe: MlxRecipe, model: ModelFacts, extras: Mapping[str, FileInput]) -> Action:
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
        name="mlx.convert",
        worker=_HERE / "worker_convert.py",
        toolchain="mlx",
        recipe=frozen_recipe(fields),
        slices=("weights", "architecture", "tokenizer", "chat_template", "generation"),
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
