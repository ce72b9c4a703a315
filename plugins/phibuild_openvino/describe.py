"""The weights of an OpenVINO IR, and its notes on how they were built."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from phibuild.api import Description, Tensor

if TYPE_CHECKING:
    from phibuild_openvino.ir_reader import Constant

FORMAT = "OpenVINO IR"
_BYTES = "openvino_model.bin"

_INDEX_TYPES = ("boolean", "i16", "i32", "i64", "string", "u16", "u32", "u64")
"""Types of the constants that compute shapes and indices."""

_LONG_NOTE = "nncf.weight_compression.advanced_parameters"
"""NNCF's constants of its algorithms: a line of a thousand characters, which is left out."""


def describe(path: Path) -> Description:
    """The constants that are weights, once for each range of stored bytes; scales and zero points
    are constants of their own. PhiError PHI303 for a damaged artifact."""
    from phibuild_openvino.ir_reader import read_ir

    constants, notes = read_ir(path / "openvino_model.xml")
    weights: dict[tuple[int, int], Constant] = {}
    for constant in constants:
        if _is_weight(constant):
            weights.setdefault((constant.offset, constant.size), constant)
    tensors = tuple(
        Tensor(weight.name, weight.type, weight.shape, weight.size, weight.offset, _BYTES)
        for weight in weights.values()
    )
    return Description(FORMAT, tensors, tuple(note for note in notes if note[0] != _LONG_NOTE))


def _is_weight(constant: Constant) -> bool:
    return constant.type not in _INDEX_TYPES and any(length > 1 for length in constant.shape)
