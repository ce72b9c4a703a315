"""The recipe of an OpenVINO IR: the options of optimum-cli, and the compression they mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, NamedTuple

from phibuild.api import PRECISIONS, recipe_field

FLOATS = ("fp16", "fp32")
"""Precisions that leave the weights uncompressed."""

WITHOUT_CALIBRATION = "weight_quantization_error"
WITH_CALIBRATION = "max_activation_variance"
METRICS = (
    WITHOUT_CALIBRATION,
    "hessian_input_activation",
    "mean_activation_variance",
    WITH_CALIBRATION,
    "mean_activation_magnitude",
)
"""NNCF's names; the first uses only the weights, the others the activations too."""

_ONLY_INT4 = "Only with precision int4."


@dataclass(frozen=True, slots=True)
class OpenVinoRecipe:
    """The keywords of `env.OpenVINO`; None where the user gave none."""

    outdated: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "backup_mode": "backup_precision",
            "bits": "precision",
            "dataset": "calibration",
            "load_in_8bit": "precision='int8'",
            "quant_method": "awq=True",
            "quant_mode": "precision",
            "seqlen": "seq_len",
            "subset_size": "num_samples",
            "weight_format": "precision",
        }
    )

    precision: str = recipe_field(
        "int4",
        "Type of the weights. int8 is always one scale per channel.",
        kind="str",
        choices=PRECISIONS,
    )
    sym: bool | None = recipe_field(
        None,
        "Whether weights are compressed symmetrically, without zero points, as NPUs require."
        " By default False. Not for floats.",
        kind="bool",
    )
    group_size: int | None = recipe_field(
        None,
        "Consecutive weights that share a scale; -1 is a whole channel. It must divide the rows"
        f" of every matrix. By default 128. {_ONLY_INT4}",
        kind="int",
        minimum=-1,
    )
    ratio: float | None = recipe_field(
        None,
        "Share of the weights that become int4, the least sensitive first; the others get"
        f" backup_precision. By default 1. {_ONLY_INT4}",
        kind="float",
        minimum=0,
        maximum=1,
    )
    sensitivity_metric: str | None = recipe_field(
        None,
        "How a ratio below 1 ranks the layers; all but weight_quantization_error require a"
        " calibration text. By default max_activation_variance with one and"
        f" weight_quantization_error without. {_ONLY_INT4}",
        kind="str",
        choices=METRICS,
    )
    backup_precision: str | None = recipe_field(
        None,
        "Type of the weights that do not become int4: the embedding and the output head unless"
        " all_layers is set, and the rest of a ratio below 1; none keeps the checkpoint's type."
        f" By default int8_asym. {_ONLY_INT4}",
        kind="str",
        choices=("none", "int8_sym", "int8_asym"),
    )
    all_layers: bool | None = recipe_field(
        None,
        "Whether the embedding and the output head may become int4 too. By default False."
        f" {_ONLY_INT4}",
        kind="bool",
    )
    awq: bool | None = recipe_field(
        None,
        "Activation-aware weight scaling; without a calibration text it uses the weights'"
        f" magnitudes. By default False. {_ONLY_INT4}",
        kind="bool",
    )
    scale_estimation: bool | None = recipe_field(
        None,
        "Fit the scales to the outputs of each layer. Requires a calibration text. By default"
        f" False. {_ONLY_INT4}",
        kind="bool",
    )
    gptq: bool | None = recipe_field(
        None,
        "Compress layer by layer with GPTQ. Requires a calibration text. By default False."
        f" {_ONLY_INT4}",
        kind="bool",
    )
    lora_correction: bool | None = recipe_field(
        None,
        "Add low-rank adapters that undo a part of the error. Requires a calibration text; not"
        f" together with gptq. By default False. {_ONLY_INT4}",
        kind="bool",
    )
    num_samples: int | None = recipe_field(
        None,
        "At most so many pieces of the calibration text, spread evenly over it. By default 128.",
        kind="int",
        minimum=1,
    )
    seq_len: int | None = recipe_field(
        None,
        "Tokens in each piece of the calibration text. By default 32.",
        kind="int",
        minimum=1,
    )


class Compression(NamedTuple):
    """How weights become int4, with every default spelt out."""

    group_size: int
    ratio: float
    sensitivity_metric: str
    backup_precision: str
    all_layers: bool
    awq: bool


class Correction(NamedTuple):
    """How a calibration text is used, with every default spelt out."""

    scale_estimation: bool
    gptq: bool
    lora_correction: bool
    num_samples: int
    seq_len: int


def compression_of(recipe: OpenVinoRecipe, *, calibrated: bool) -> Compression:
    """The compression of an int4 recipe that passed the check; it does not depend on the model."""
    metric = WITH_CALIBRATION if calibrated else WITHOUT_CALIBRATION
    return Compression(
        group_size=128 if recipe.group_size is None else recipe.group_size,
        ratio=1.0 if recipe.ratio is None else recipe.ratio,
        sensitivity_metric=recipe.sensitivity_metric or metric,
        backup_precision=recipe.backup_precision or "int8_asym",
        all_layers=bool(recipe.all_layers),
        awq=bool(recipe.awq),
    )


def correction_of(recipe: OpenVinoRecipe) -> Correction:
    """How a recipe uses its calibration text."""
    return Correction(
        scale_estimation=bool(recipe.scale_estimation),
        gptq=bool(recipe.gptq),
        lora_correction=bool(recipe.lora_correction),
        num_samples=recipe.num_samples or 128,
        seq_len=recipe.seq_len or 32,
    )
