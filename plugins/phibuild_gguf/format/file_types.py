"""The file types of the pinned llama-quantize: mixtures of tensor types under one name.

From QUANT_OPTIONS in tools/quantize/quantize.cpp and llama_ftype_get_default_type in
src/llama-quant.cpp. COPY is left out: it quantizes nothing. Standard library only: workers import
it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

DEFAULT_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "Q1_0": "q1_0",
        "Q2_0": "q2_0",
        "Q4_0": "q4_0",
        "Q4_1": "q4_1",
        "MXFP4_MOE": "mxfp4",
        "Q5_0": "q5_0",
        "Q5_1": "q5_1",
        "IQ2_XXS": "iq2_xxs",
        "IQ2_XS": "iq2_xs",
        "IQ2_S": "iq2_xs",
        "IQ2_M": "iq2_s",
        "IQ1_S": "iq1_s",
        "IQ1_M": "iq1_m",
        "TQ1_0": "tq1_0",
        "TQ2_0": "tq2_0",
        "Q2_K": "q2_K",
        "Q2_K_S": "q2_K",
        "IQ3_XXS": "iq3_xxs",
        "IQ3_S": "iq3_s",
        "IQ3_M": "iq3_s",
        "IQ3_XS": "iq3_s",
        "Q3_K_S": "q3_K",
        "Q3_K_M": "q3_K",
        "Q3_K_L": "q3_K",
        "IQ4_NL": "iq4_nl",
        "IQ4_XS": "iq4_xs",
        "Q4_K_S": "q4_K",
        "Q4_K_M": "q4_K",
        "Q5_K_S": "q5_K",
        "Q5_K_M": "q5_K",
        "Q6_K": "q6_K",
        "Q8_0": "q8_0",
        "F16": "f16",
        "BF16": "bf16",
        "F32": "f32",
    }
)
"""The type that most tensors of a file get."""

NUMBERS: Mapping[str, int] = MappingProxyType(
    {
        "Q1_0": 40,
        "Q2_0": 41,
        "Q4_0": 2,
        "Q4_1": 3,
        "MXFP4_MOE": 38,
        "Q5_0": 8,
        "Q5_1": 9,
        "IQ2_XXS": 19,
        "IQ2_XS": 20,
        "IQ2_S": 28,
        "IQ2_M": 29,
        "IQ1_S": 24,
        "IQ1_M": 31,
        "TQ1_0": 36,
        "TQ2_0": 37,
        "Q2_K": 10,
        "Q2_K_S": 21,
        "IQ3_XXS": 23,
        "IQ3_S": 26,
        "IQ3_M": 27,
        "IQ3_XS": 22,
        "Q3_K_S": 11,
        "Q3_K_M": 12,
        "Q3_K_L": 13,
        "IQ4_NL": 25,
        "IQ4_XS": 30,
        "Q4_K_S": 14,
        "Q4_K_M": 15,
        "Q5_K_S": 16,
        "Q5_K_M": 17,
        "Q6_K": 18,
        "Q8_0": 7,
        "F16": 1,
        "BF16": 32,
        "F32": 0,
    }
)
"""What the key general.file_type holds (llama_ftype in include/llama.h)."""

ALIASES: Mapping[str, str] = MappingProxyType(
    {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}
)

FILE_TYPES: tuple[str, ...] = (*DEFAULT_TYPES, *ALIASES)

OF_PRECISION: Mapping[str, str] = MappingProxyType(
    {"int4": "Q4_K_M", "int8": "Q8_0", "fp16": "F16", "fp32": "F32"}
)

FLOATS: Mapping[str, str] = MappingProxyType({"F16": "f16", "BF16": "bf16", "F32": "f32"})
"""File types that the converter writes itself, with its name for them."""

NEED_IMATRIX = frozenset(
    ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "IQ3_XS", "Q2_K_S")
)
"""Some tensor of each of these gets a type that llama-quantize refuses without an imatrix."""

MIXED_ONLY = frozenset({"IQ3_XS"})
"""Of those, the ones that `pure` frees from it: their default type needs none."""
