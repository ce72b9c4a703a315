"""The types that `target_bytes` chooses from, for each tensor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from phibuild_gguf.format.types import BY_NAME, GgmlType
from phibuild_gguf.tensors.checkpoint import OutputTensor
from phibuild_gguf.tensors.demands import is_quantized

FILE_TYPE_OF: Mapping[str, str] = MappingProxyType(
    {
        "q8_0": "Q8_0",
        "q6_K": "Q6_K",
        "q5_K": "Q5_K_M",
        "q4_K": "Q4_K_M",
        "q3_K": "Q3_K_M",
        "q2_K": "Q2_K",
        "q5_1": "Q5_1",
        "q5_0": "Q5_0",
        "q4_1": "Q4_1",
        "iq4_nl": "IQ4_NL",
    }
)
"""The candidates, and the file type to declare if most weights of a file have that type. A k-quant
needs rows of whole blocks of 256 weights; the last four are for other rows."""

_K_QUANTS = ("q8_0", "q6_K", "q5_K", "q4_K", "q3_K", "q2_K")
_SMALL_BLOCKS = ("q8_0", "q5_1", "q5_0", "q4_1", "iq4_nl")


def candidates(tensors: Iterable[OutputTensor]) -> dict[OutputTensor, tuple[GgmlType, ...]]:
    """For each tensor that llama-quantize quantizes, the type that it is stored in and the types
    whose blocks fill its rows. Other rows than of whole blocks of 32 weights stay as stored."""
    kinds = {}
    for tensor in tensors:
        if is_quantized(tensor):
            columns = tensor.shape[0]
            names = _K_QUANTS if BY_NAME["q6_k"].holds(columns) else _SMALL_BLOCKS
            fitting = (BY_NAME[name.lower()] for name in names)
            kinds[tensor] = (tensor.stored, *(kind for kind in fitting if kind.holds(columns)))
    return kinds
