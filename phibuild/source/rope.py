"""Checks that the fields of rotary position embeddings agree.

Toolkits disagree about fields that are inconsistent or that only some of them read (transformers
5.5 `modeling_rope_utils.py`, llama.cpp `conversion/phi.py`, mlx-lm `rope_utils.py`, the ONNX
builder's `builders/phi.py`): the same config.json would become different models.
"""

from __future__ import annotations

import math
from typing import Any

from phibuild.source.architecture import config_refusal
from phibuild.source.families import Dimensions, Fields

_ORIGINAL = "original_max_position_embeddings"
_TYPES = {
    "phi": ("dynamic", "linear", "llama3", "longrope", "yarn"),
    "phi3": ("longrope",),
    "phimoe": ("longrope",),
}
"""The types that transformers computes; each backend refuses those that its toolkit does not."""
_LISTS = ("short_factor", "long_factor")
_SCALES = ("short_mscale", "long_mscale")
_ENOUGH_ALIKE = 1e-4


def check_rope(size: Dimensions) -> None:
    """SourceError PHI103 for rotary fields that are not numbers, or that contradict each other."""
    fields = size.fields
    _positive(fields, "rope_theta")
    share = _positive(fields, "partial_rotary_factor") if "partial_rotary_factor" in fields else 1.0
    rotated = int(size.head_size * share)
    if share > 1 or rotated < 2 or rotated % 2:
        raise config_refusal(
            f"partial_rotary_factor {share} rotates {rotated} of the {size.head_size} dimensions of"
            " a head, which is not an even number of them"
        )
    scaling = fields.get("rope_scaling")
    if scaling is not None and scaling["type"] not in _TYPES[fields["model_type"]]:
        raise config_refusal(
            f"rope_scaling has the type {scaling['type']!r}, and {fields['model_type']} has"
            f" {', '.join(_TYPES[fields['model_type']])} or none"
        )
    if scaling is not None and scaling["type"] == "longrope":
        _check_longrope(fields, scaling, rotated // 2)


def _check_longrope(fields: Fields, scaling: Fields, count: int) -> None:
    for name in _LISTS:
        factors = scaling.get(name)
        if not isinstance(factors, list) or not all(map(_is_positive, factors)):
            raise config_refusal(f"{name} of rope_scaling is not a list of positive numbers")
        if len(factors) != count:
            raise config_refusal(
                f"{name} of rope_scaling has {len(factors)} numbers, and there are {count} rotated"
                " frequencies of a head"
            )
    if _ORIGINAL not in fields:
        raise config_refusal(f"{_ORIGINAL} is absent, and longrope needs it")
    original = _positive(fields, _ORIGINAL)
    if original < 2:
        raise config_refusal(f"{_ORIGINAL} is {original:g}, which is less than two tokens")
    growth = _positive(fields, "max_position_embeddings") / original
    usual = {"factor": growth, "attention_factor": _attention(growth, original)}
    for name, value in usual.items():
        if name in scaling and not _is_about(scaling[name], value):
            raise config_refusal(
                f"{name} of rope_scaling is {scaling[name]}, and the context grows"
                f" {growth:g} times, which means {value:.6g}"
            )
    for name in _SCALES:
        if fields["model_type"] == "phimoe":
            _positive(scaling, name)
        elif name in scaling:
            raise config_refusal(
                f"rope_scaling has {name}, which {fields['model_type']} does not have"
            )


def _attention(growth: float, original: float) -> float:
    """LongRoPE's scale of attention (https://arxiv.org/abs/2402.13753)."""
    return math.sqrt(1 + math.log(growth) / math.log(original)) if growth > 1 else 1.0


def _positive(fields: Fields, name: str) -> float:
    if not _is_positive(fields.get(name)):
        raise config_refusal(f"{name} is {fields.get(name)!r}, which is not a positive number")
    return float(fields[name])


def _is_positive(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 < value < math.inf


def _is_about(value: Any, expected: float) -> bool:
    return _is_positive(value) and abs(value - expected) <= _ENOUGH_ALIKE * expected
