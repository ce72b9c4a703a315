"""Reading an OpenVINO IR for people: its weights, and how they were made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from phibuild.api import Description, Tensor

if TYPE_CHECKING:
    from phibuild_openvino.ir_reader import Constant

FORMAT = "OpenVINO IR"

_OF_THE_GRAPH = ("boolean", "i16", "i32", "i64", "string", "u16", "u32", "u64")
"""Types of the constants that compute shapes and indices."""

_LEFT_OUT = "nncf.weight_compression.advanced_parameters"
"""NNCF's constants of its algorithms, a line of a thousand characters."""


def describe(path: Path) -> Description:
    """The constants that are weights, each stored piece of bytes once; scales and zero points are
    constants beside their weight. PhiError PHI303 for a damaged artifact."""
    from phibuild_openvino.ir_reader import read_ir

    constants, notes = read_ir(path / "openvino_model.xml")
    pieces: dict[tuple[int, int], Constant] = {}
    for constant in constants:
        if _is_weight(constant):
            pieces.setdefault((constant.offset, constant.size), constant)
    tensors = tuple(
        Tensor(one.name, one.type, one.shape, one.size, one.offset, "openvino_model.bin")
        for one in pieces.values()
    )
    return Description(FORMAT, tensors, tuple(note for note in notes if note[0] != _LEFT_OUT))


def _is_weight(constant: Constant) -> bool:
    return constant.type not in _OF_THE_GRAPH and any(length > 1 for length in constant.shape)
