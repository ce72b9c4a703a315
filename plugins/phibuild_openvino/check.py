"""Refuses recipes that Optimum and NNCF accept, and then ignore, change silently or fail at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from phibuild.api import FileInput, ModelFacts, RecipeError
from phibuild_openvino.architectures import check_architecture
from phibuild_openvino.recipe import WITHOUT_CALIBRATION, OpenVinoRecipe, compression_of

_ONLY_INT4 = (
    "group_size",
    "ratio",
    "sensitivity_metric",
    "backup_precision",
    "all_layers",
    "awq",
    "scale_estimation",
    "gptq",
    "lora_correction",
)
_NEED_CALIBRATION = ("scale_estimation", "gptq", "lora_correction")
_ONLY_CALIBRATED = ("num_samples", "seq_len")
_LARGEST_HALF = 65504
_USUAL_GROUPS = (128, 64, 32, 16)


def check(recipe: OpenVinoRecipe, model: ModelFacts, extras: Mapping[str, FileInput]) -> None:
    """RecipeError PHI203 for fields that contradict each other or do not fit the model, PHI204 for
    a model that the exporter does not support."""
    calibrated = "calibration" in extras
    if recipe.precision == "int4":
        _check_group_size(recipe)
        _check_ratio(recipe)
        _check_calibration(recipe, calibrated=calibrated)
    else:
        _check_unused(recipe, calibrated=calibrated)
    if model.model_type:
        check_architecture(recipe, model.architecture)
        _check_widths(recipe, model)
        _check_length(recipe, model)
        _check_halves(recipe, model)


def _check_unused(recipe: OpenVinoRecipe, *, calibrated: bool) -> None:
    """These options exist only for int4; values that describe what happens anyway are allowed."""
    harmless = {"group_size": -1, "ratio": 1.0} if recipe.precision == "int8" else {}
    names = (*(() if recipe.precision == "int8" else ("sym",)), *_ONLY_INT4, *_ONLY_CALIBRATED)
    for name in names:
        value = getattr(recipe, name)
        if value is not None and value is not False and value != harmless.get(name):
            raise _refusal(
                f"{name}={value!r} has no effect with precision={recipe.precision!r}",
                hint=f"leave {name} out, or use precision='int4'",
            )
    if calibrated:
        raise _refusal(
            f"a calibration text has no effect with precision={recipe.precision!r}",
            hint="leave calibration out, or use precision='int4'",
        )


def _check_group_size(recipe: OpenVinoRecipe) -> None:
    if recipe.group_size == 0:
        raise _refusal(
            "group_size must be positive or -1, not 0",
            hint="write group_size=-1 for one scale per channel",
        )


def _check_ratio(recipe: OpenVinoRecipe) -> None:
    if recipe.ratio == 0:
        raise _refusal(
            "NNCF would silently treat ratio=0 as 1",
            hint="use precision='int8' for a model without int4 weights",
        )
    ratio = 1.0 if recipe.ratio is None else recipe.ratio
    if ratio == 1 and recipe.sensitivity_metric is not None:
        raise _refusal(
            f"sensitivity_metric={recipe.sensitivity_metric!r} has no effect with ratio=1",
            hint="use a ratio below 1, or leave sensitivity_metric out",
        )
    if ratio == 1 and recipe.all_layers and recipe.backup_precision is not None:
        raise _refusal(
            f"backup_precision={recipe.backup_precision!r} has no effect with all_layers=True and"
            " ratio=1, which leave no weights for it",
            hint="leave one of them out, or use a ratio below 1",
        )


def _check_calibration(recipe: OpenVinoRecipe, *, calibrated: bool) -> None:
    if recipe.gptq and recipe.lora_correction:
        raise _refusal(
            "NNCF does not support gptq and lora_correction together", hint="leave one of them out"
        )
    if not calibrated:
        _check_not_calibrated(recipe)
        return
    compression = compression_of(recipe, calibrated=True)
    measured = compression.ratio < 1 and compression.sensitivity_metric != WITHOUT_CALIBRATION
    if not (measured or compression.awq or _given(recipe, _NEED_CALIBRATION)):
        raise _refusal(
            "the calibration text would not be read",
            hint="add a field that uses it (awq, scale_estimation, gptq, lora_correction, a ratio"
            " below 1 with a sensitivity_metric of activations), or leave calibration out",
        )


def _check_not_calibrated(recipe: OpenVinoRecipe) -> None:
    metric = recipe.sensitivity_metric
    unmet = _given(recipe, _NEED_CALIBRATION)
    if metric not in (None, WITHOUT_CALIBRATION):
        unmet.append("sensitivity_metric")
    if unmet:
        raise _refusal(
            f"{unmet[0]}={getattr(recipe, unmet[0])!r} requires a calibration text",
            hint="pass calibration='text.txt', a text like those that the model will see",
        )
    for name in _given(recipe, _ONLY_CALIBRATED):
        raise _refusal(
            f"{name}={getattr(recipe, name)!r} has no effect without a calibration text",
            hint=f"pass calibration='text.txt', or leave {name} out",
        )


def _check_widths(recipe: OpenVinoRecipe, model: ModelFacts) -> None:
    """NNCF fails at rows that groups do not divide, but only after the whole export."""
    if recipe.precision != "int4":
        return
    size = compression_of(recipe, calibrated=False).group_size
    widths = _widths(model)
    odd = sorted(width for width in widths if size > 0 and width % size)
    if odd:
        fitting = [
            str(candidate)
            for candidate in _USUAL_GROUPS
            if not any(width % candidate for width in widths)
        ]
        raise _refusal(
            f"group_size={size} does not divide the model's rows of {odd[0]} weights",
            hint=f"use group_size={' or '.join(reversed(fitting))}"
            if fitting
            else "use group_size=-1, one scale per channel",
        )


def _widths(model: ModelFacts) -> set[int]:
    """The lengths of the rows that are divided into groups."""
    stored = {tensor.shape[-1] for tensor in model.tensors if len(tensor.shape) > 1}
    named = (model.architecture.get(name) for name in ("hidden_size", "intermediate_size"))
    return stored or {width for width in named if isinstance(width, int)}


def _check_length(recipe: OpenVinoRecipe, model: ModelFacts) -> None:
    longest = model.architecture.get("max_position_embeddings")
    if recipe.seq_len is not None and isinstance(longest, int) and recipe.seq_len > longest:
        raise _refusal(
            f"seq_len={recipe.seq_len} is more than the model's context of {longest} tokens",
            hint="a few hundred tokens are enough",
        )


def _check_halves(recipe: OpenVinoRecipe, model: ModelFacts) -> None:
    """OpenVINO would clip larger weights to the largest fp16; scales have 16 bits too."""
    if recipe.precision == "fp32":
        return
    for tensor in model.tensors:
        if tensor.largest > _LARGEST_HALF:
            raise _refusal(
                f"{tensor.name} has the value {tensor.largest:g}, but the 16-bit numbers of"
                f" precision={recipe.precision!r} end at {_LARGEST_HALF}",
                hint="use precision='fp32'",
            )


def _given(recipe: OpenVinoRecipe, names: Iterable[str]) -> list[str]:
    return [name for name in names if getattr(recipe, name)]


def _refusal(problem: str, *, hint: str) -> RecipeError:
    return RecipeError(f"OpenVINO: {problem}", hint=hint, code="PHI203")
