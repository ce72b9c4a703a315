"""The recipe of an MLX model: the options of mlx-lm's converter, and the quantization they mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, NamedTuple

from phibuild.api import PRECISIONS, recipe_field

FLOATS: Mapping[str, str] = MappingProxyType(
    {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"}
)
"""Precisions that leave the weights unquantized, with MLX's names of the types."""

INTEGERS: Mapping[str, int] = MappingProxyType({"int4": 4, "int8": 8})
"""Precisions that quantize, with their bits."""

MIXED: Mapping[str, int] = MappingProxyType(
    {"mixed_2_6": 2, "mixed_3_4": 3, "mixed_3_6": 3, "mixed_4_6": 4}
)
"""mlx-lm's mixed recipes with the bits of most weights; the others get the second number."""


class Mode(NamedTuple):
    """The choices of a quantization mode of MLX; the first of each is the default."""

    bits: tuple[int, ...]
    group_sizes: tuple[int, ...]


MODES: Mapping[str, Mode] = MappingProxyType(
    {
        "affine": Mode(bits=(4, 2, 3, 5, 6, 8), group_sizes=(64, 32, 128)),
        "mxfp4": Mode(bits=(4,), group_sizes=(32,)),
        "mxfp8": Mode(bits=(8,), group_sizes=(32,)),
        "nvfp4": Mode(bits=(4,), group_sizes=(16,)),
    }
)
"""The table of modes in the documentation of `mlx.core.quantize`, without affine's one bit, whose
error is larger than the weights."""


@dataclass(frozen=True, slots=True)
class MlxRecipe:
    """The keywords of `env.MLX`; None where the user gave none."""

    outdated: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "q_bits": "bits",
            "q_group_size": "group_size",
            "q_mode": "mode",
            "quantize": "precision",
            "dequantize": "precision",
        }
    )

    precision: str | None = recipe_field(
        None,
        "Type of the weights. int4 unless bits, mode or quant_predicate says otherwise.",
        kind="str",
        choices=(*PRECISIONS, "bf16"),
    )
    bits: int | None = recipe_field(
        None,
        "Bits of a quantized weight. 4 unless precision, mode or quant_predicate says otherwise.",
        kind="int",
        choices=tuple(sorted(MODES["affine"].bits)),
    )
    group_size: int | None = recipe_field(
        None,
        "Consecutive weights that share a scale: 32, 64 or 128, by default 64, for mode affine;"
        " mxfp4 and mxfp8 have 32, nvfp4 has 16.",
        kind="int",
        choices=(16, 32, 64, 128),
    )
    mode: str | None = recipe_field(
        None,
        "How a group is stored: affine (integers, a scale and an offset), or one of the floating"
        " point formats with shared scales. By default affine.",
        kind="str",
        choices=tuple(MODES),
    )
    quant_predicate: str | None = recipe_field(
        None,
        "One of mlx-lm's mixed recipes: the second number is the bits of the output head and, in"
        " some layers, of down_proj and of v_proj or the fused qkv_proj; others have the first.",
        kind="str",
        choices=tuple(MIXED),
    )
    dtype: str | None = recipe_field(
        None,
        "Type of unquantized tensors: norms, biases, and the scales of mode affine. By default"
        " the type of the checkpoint's tensors.",
        kind="str",
        choices=tuple(FLOATS.values()),
    )


class Quantization(NamedTuple):
    """How weights are quantized, with every default spelt out."""

    bits: int
    group_size: int
    mode: str
    quant_predicate: str | None


def quantization_of(recipe: MlxRecipe) -> Quantization | None:
    """The quantization of a recipe that passed the check; None if the weights stay floats."""
    if recipe.precision in FLOATS:
        return None
    name = recipe.mode or "affine"
    mode = MODES[name]
    if recipe.quant_predicate is not None:
        bits = MIXED[recipe.quant_predicate]
    else:
        bits = recipe.bits or INTEGERS.get(recipe.precision or "", mode.bits[0])
    return Quantization(
        bits, recipe.group_size or mode.group_sizes[0], name, recipe.quant_predicate
    )
