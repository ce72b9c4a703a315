"""Refuses recipes that mlx-lm accepts, and then ignores, changes silently or fails at."""

from __future__ import annotations

from collections.abc import Mapping

from phibuild.api import FileInput, ModelFacts, RecipeError
from phibuild_mlx.architectures import check_architecture
from phibuild_mlx.recipe import FLOATS, INTEGERS, MIXED, MODES, MlxRecipe, quantization_of

_LARGEST_HALF = 65504


def check(recipe: MlxRecipe, model: ModelFacts, extras: Mapping[str, FileInput]) -> None:
    """RecipeError PHI203 for fields that contradict each other or do not fit the model, PHI204 for
    a model that mlx-lm does not run the way it was trained."""
    if recipe.precision in FLOATS:
        _check_float(recipe)
    else:
        _check_mode(recipe)
        _check_precision(recipe)
    if model.model_type:
        check_architecture(model.architecture)
        _check_mixed(recipe, model)
        _check_widths(recipe, model)
        _check_halves(recipe, model)


def _check_float(recipe: MlxRecipe) -> None:
    for name in ("bits", "group_size", "mode", "quant_predicate", "dtype"):
        value = getattr(recipe, name)
        if value is not None:
            raise _refusal(
                f"{name}={value!r} has no effect with precision={recipe.precision!r}",
                hint=f"leave {name} out, or use precision='int4' or 'int8' to quantize",
            )


def _check_mode(recipe: MlxRecipe) -> None:
    name = recipe.mode or "affine"
    mode = MODES[name]
    if recipe.quant_predicate is not None and name != "affine":
        raise _refusal(
            f"quant_predicate={recipe.quant_predicate!r} is not supported with mode={name!r}",
            hint="mixed recipes use mode affine: leave one of the two out",
        )
    if recipe.bits is not None and recipe.bits not in mode.bits:
        raise _refusal(
            f"bits={recipe.bits} is not supported with mode={name!r}",
            hint=f"mode {name} always has {mode.bits[0]} bits: leave bits out",
        )
    if recipe.group_size is not None and recipe.group_size not in mode.group_sizes:
        sizes = " or ".join(map(str, sorted(mode.group_sizes)))
        raise _refusal(
            f"group_size={recipe.group_size} is not supported with mode={name!r}",
            hint=f"the group size of mode {name} is {sizes}",
        )


def _check_precision(recipe: MlxRecipe) -> None:
    if recipe.quant_predicate is not None and recipe.bits is not None:
        raise _refusal(
            f"bits={recipe.bits} has no effect with quant_predicate={recipe.quant_predicate!r}",
            hint="leave bits out: the mixed recipe has its own",
        )
    if recipe.precision is None:
        return
    bits = INTEGERS[recipe.precision]
    if recipe.quant_predicate is not None and MIXED[recipe.quant_predicate] != bits:
        raise _refusal(
            f"precision={recipe.precision!r} contradicts quant_predicate="
            f"{recipe.quant_predicate!r}",
            hint="leave precision out: the mixed recipe has its own bits",
        )
    if recipe.bits not in (None, bits):
        raise _refusal(
            f"bits={recipe.bits} contradicts precision={recipe.precision!r}",
            hint=f"leave precision out for {recipe.bits} bits, or bits for {bits}",
        )
    if bits not in MODES[recipe.mode or "affine"].bits:
        raise _refusal(
            f"mode={recipe.mode!r} contradicts precision={recipe.precision!r}",
            hint=f"leave precision out for {recipe.mode}, or mode for {bits} bits",
        )


def _check_mixed(recipe: MlxRecipe, model: ModelFacts) -> None:
    if recipe.quant_predicate is not None and model.model_type == "phi":
        raise _refusal(
            f"quant_predicate={recipe.quant_predicate!r} is not supported for Phi-2",
            hint="mixed recipes choose by the name down_proj, which Phi-2's layers do not have:"
            " use bits or precision",
        )


def _check_widths(recipe: MlxRecipe, model: ModelFacts) -> None:
    """mlx-lm silently leaves a matrix unquantized if the group size does not divide its rows."""
    quantization = quantization_of(recipe)
    if quantization is None:
        return
    widths = _widths(model)
    size = quantization.group_size
    odd = sorted(width for width in widths if width % size)
    if odd:
        fitting = [
            str(candidate)
            for candidate in sorted(MODES[quantization.mode].group_sizes)
            if all(width % candidate == 0 for width in widths)
        ]
        raise _refusal(
            f"group_size={size} does not divide the model's rows of {odd[0]} weights, which mlx-lm"
            " would silently leave unquantized",
            hint=f"use group_size={' or '.join(fitting)}"
            if fitting
            else "use precision='fp16' or 'bf16'",
        )


def _check_halves(recipe: MlxRecipe, model: ModelFacts) -> None:
    """Weights and scales in float16 become infinite beyond the largest float16."""
    dtype = FLOATS.get(recipe.precision or "", recipe.dtype)
    halves = dtype == "float16" or (
        dtype is None and any(tensor.type == "F16" for tensor in model.tensors)
    )
    for tensor in model.tensors:
        if halves and tensor.largest > _LARGEST_HALF:
            raise _refusal(
                f"{tensor.name} has the value {tensor.largest:g}, but float16 ends at"
                f" {_LARGEST_HALF}",
                hint="use precision='bf16' or 'fp32', or dtype='bfloat16' with int4 or int8",
            )


def _widths(model: ModelFacts) -> set[int]:
    """The lengths of the rows that are divided into groups."""
    stored = {tensor.shape[-1] for tensor in model.tensors if len(tensor.shape) > 1}
    named = (model.architecture.get(name) for name in ("hidden_size", "intermediate_size"))
    return stored or {width for width in named if isinstance(width, int)}


def _refusal(problem: str, *, hint: str) -> RecipeError:
    return RecipeError(f"MLX: {problem}", hint=hint, code="PHI203")
