"""The fields of ggml's quantization blocks, in the order in which ggml-common.h declares them."""

from __future__ import annotations

from phibuild.api import BlockField

_HALF = BlockField(2, is_number=True)
BLOCK_FIELDS: dict[str, tuple[BlockField, ...]] = {
    "q4_0": (_HALF, BlockField(16)),
    "q4_1": (_HALF, _HALF, BlockField(16)),
    "q5_0": (_HALF, BlockField(4), BlockField(16)),
    "q5_1": (_HALF, _HALF, BlockField(4), BlockField(16)),
    "q8_0": (_HALF, BlockField(32)),
    "q2_K": (BlockField(16), BlockField(64), _HALF, _HALF),
    "q3_K": (BlockField(32), BlockField(64), BlockField(12), _HALF),
    "q4_K": (_HALF, _HALF, BlockField(12), BlockField(128)),
    "q5_K": (_HALF, _HALF, BlockField(12), BlockField(32), BlockField(128)),
    "q6_K": (BlockField(128), BlockField(64), BlockField(16), _HALF),
    "iq4_nl": (_HALF, BlockField(16)),
    "iq4_xs": (_HALF, BlockField(2), BlockField(4), BlockField(128)),
}
"""By the name of the type. Types without a row are compared byte by byte."""
