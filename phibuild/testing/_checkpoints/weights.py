"""Seeded random weights: the bytes of a tensor follow from its name, role and shape alone.

Only the raw output of numpy's PCG64 is used, whose stream numpy guarantees, and a table of normal
quantiles rounded far above the last digit of a libm: every machine writes the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from phibuild.testing._checkpoints.families import Dtype, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAFETENSORS_DTYPE = {"bf16": "BF16", "f16": "F16", "f32": "F32"}
CHUNK = 1 << 22  # values at a time: bounds the memory that a tensor of any size needs


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring values of a tensor that are drawn alike."""

    count: int
    mean: float
    deviation: float


def runs(spec: TensorSpec, *, scale: float, words: range) -> tuple[Run, ...]:
    """How a tensor's values are spread, so that activations keep their size from layer to layer.

    Rows of the head beyond ``words`` give small logits: a greedy generation writes words, never
    half a character, the end of text, or one of the ids that have no token.
    """
    count = math.prod(spec.shape)
    if spec.role == "norm":
        return (Run(count, 1.0, 0.05),)
    if spec.role == "bias":
        return (Run(count, 0.0, 0.02),)
    columns = spec.shape[-1]
    deviation = scale / math.sqrt(columns)
    if spec.role == "matrix":
        return (Run(count, 0.0, deviation),)
    before, written = words.start * columns, len(words) * columns
    return (
        Run(before, 0.0, deviation / 8),
        Run(written, 0.0, deviation),
        Run(count - before - written, 0.0, deviation / 8),
    )


def weight_chunks(
    spec: TensorSpec, *, dtype: Dtype, seed: int, scale: float, words: range
) -> Iterator[memoryview]:
    """The tensor's little-endian bytes, a bounded piece at a time."""
    import numpy as np

    stream = np.random.PCG64(np.random.SeedSequence((seed, *spec.name.encode())))
    for run in runs(spec, scale=scale, words=words):
        table = encoded(normal_quantiles() * run.deviation + run.mean, dtype)
        for start in range(0, run.count, CHUNK):
            count = min(CHUNK, run.count - start)
            drawn = stream.random_raw(-(-count // 4)).astype("<u8", copy=False).view("<u2")
            yield memoryview(table[drawn[:count]]).cast("B")


@cache
def normal_quantiles() -> NDArray[Any]:
    """The value of a standard normal variable for each of 65,536 equally likely numbers."""
    import numpy as np

    quantile = NormalDist().inv_cdf
    return np.array([round(quantile((number + 0.5) / 65536), 5) for number in range(65536)])


def encoded(values: NDArray[Any], dtype: Dtype) -> NDArray[Any]:
    """The values rounded to nearest, ties to even, in the dtype's bits."""
    if dtype == "f16":
        return values.astype("<f2")
    if dtype == "f32":
        return values.astype("<f4")
    bits = values.astype("<f4").view("<u4")
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2")
