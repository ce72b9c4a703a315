"""The storage types of ggml tensors: number in files, name, block size and bytes per block.

Standard library only: workers import it too. From ggml.h, `ggml_type_name` and gguf-py's
GGML_QUANT_SIZES of the pinned llama.cpp.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple


class GgmlType(NamedTuple):
    """A type: `block_size` weights are stored in `block_bytes` bytes; rows hold whole blocks."""

    number: int
    name: str
    block_size: int
    block_bytes: int

    def holds(self, columns: int) -> bool:
        """Whether a row of that many weights can have this type."""
        return columns % self.block_size == 0

    def size_of(self, shape: tuple[int, ...]) -> int:
        """Bytes of a tensor of the type; the first of its shape is the length of a row."""
        return prod(shape) // self.block_size * self.block_bytes


_ALL = (
    GgmlType(0, "f32", 1, 4),
    GgmlType(1, "f16", 1, 2),
    GgmlType(2, "q4_0", 32, 18),
    GgmlType(3, "q4_1", 32, 20),
    GgmlType(6, "q5_0", 32, 22),
    GgmlType(7, "q5_1", 32, 24),
    GgmlType(8, "q8_0", 32, 34),
    GgmlType(9, "q8_1", 32, 36),
    GgmlType(10, "q2_K", 256, 84),
    GgmlType(11, "q3_K", 256, 110),
    GgmlType(12, "q4_K", 256, 144),
    GgmlType(13, "q5_K", 256, 176),
    GgmlType(14, "q6_K", 256, 210),
    GgmlType(15, "q8_K", 256, 292),
    GgmlType(16, "iq2_xxs", 256, 66),
    GgmlType(17, "iq2_xs", 256, 74),
    GgmlType(18, "iq3_xxs", 256, 98),
    GgmlType(19, "iq1_s", 256, 50),
    GgmlType(20, "iq4_nl", 32, 18),
    GgmlType(21, "iq3_s", 256, 110),
    GgmlType(22, "iq2_s", 256, 82),
    GgmlType(23, "iq4_xs", 256, 136),
    GgmlType(24, "i8", 1, 1),
    GgmlType(25, "i16", 1, 2),
    GgmlType(26, "i32", 1, 4),
    GgmlType(27, "i64", 1, 8),
    GgmlType(28, "f64", 1, 8),
    GgmlType(29, "iq1_m", 256, 56),
    GgmlType(30, "bf16", 1, 2),
    GgmlType(34, "tq1_0", 256, 54),
    GgmlType(35, "tq2_0", 256, 66),
    GgmlType(39, "mxfp4", 32, 17),
    GgmlType(40, "nvfp4", 64, 36),
    GgmlType(41, "q1_0", 128, 18),
    GgmlType(42, "q2_0", 64, 18),
)

BY_NUMBER = {one.number: one for one in _ALL}
BY_NAME = {one.name.lower(): one for one in _ALL}

# What ggml_quantize_chunk can write; integers, f64 and the types of activations end it with an
# assertion.
_NOT_WRITTEN = {"q8_1", "q8_K", "i8", "i16", "i32", "i64", "f64"}
TARGETS = tuple(one.name for one in _ALL if one.name not in _NOT_WRITTEN)

# llama-quantize refuses these without an imatrix, but for the token embedding and the output.
NEED_IMATRIX = frozenset({"iq1_s", "iq1_m", "iq2_xxs", "iq2_xs", "iq2_s", "iq3_xxs"})

# Their quantizers never look at an imatrix.
IGNORE_IMATRIX = frozenset(
    {"f32", "f16", "bf16", "q8_0", "q1_0", "q2_0", "tq1_0", "tq2_0", "mxfp4", "nvfp4"}
)
