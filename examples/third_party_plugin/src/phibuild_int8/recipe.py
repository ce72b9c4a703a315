"""The keywords of `env.Int8Safetensors`, and the check against a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from phibuild.api import FileInput, ModelFacts, RecipeError, Tensor, recipe_field

FLOATS = ("BF16", "F16", "F32")


@dataclass(frozen=True, slots=True)
class Int8Recipe:
    """phibuild refuses unknown names and wrong values by these fields."""

    group_size: int | None = recipe_field(
        None,
        "Consecutive weights of a row that share a scale; by default the whole row.",
        kind="int",
        minimum=8,
    )
    scale_dtype: str = recipe_field(
        "float32", "Type of the scales.", kind="str", choices=("float32", "float16")
    )
    keep: tuple[str, ...] = recipe_field(
        (), "Patterns of tensor names (* and ?) that keep their type.", kind="strs"
    )


def check(recipe: Int8Recipe, model: ModelFacts, extras: Mapping[str, FileInput]) -> None:
    """Refuse fields that would fail later or have no effect.

    phibuild calls it twice when another target of the same build makes the model: first with an
    empty model, without tensors.
    """
    if "" in recipe.keep:
        raise _refusal("keep has an empty pattern", hint="write patterns such as '*embed_tokens*'")
    if not model.tensors:
        return
    for pattern in recipe.keep:
        if not any(fnmatchcase(tensor.name, pattern) for tensor in model.tensors):
            raise _refusal(
                f"keep={pattern!r} matches no tensor",
                hint=f"the first tensor's name is {model.tensors[0].name}",
            )
    for tensor in model.tensors:
        _check_tensor(recipe, tensor)


def _check_tensor(recipe: Int8Recipe, tensor: Tensor) -> None:
    if tensor.type not in FLOATS:
        raise RecipeError(
            f"Int8Safetensors: {tensor.name} is of type {tensor.type}",
            hint=f"use a checkpoint whose tensors are {', '.join(FLOATS)}",
            code="PHI204",
        )
    is_kept = any(fnmatchcase(tensor.name, pattern) for pattern in recipe.keep)
    if len(tensor.shape) == 2 and recipe.group_size and not is_kept:
        width = tensor.shape[1]
        if width % recipe.group_size:
            raise _refusal(
                f"group_size={recipe.group_size} does not divide {tensor.name}'s rows of {width}",
                hint=f"use a divisor of {width}, or leave group_size out for one scale per row",
            )


def _refusal(problem: str, *, hint: str) -> RecipeError:
    return RecipeError(f"Int8Safetensors: {problem}", hint=hint, code="PHI203")
