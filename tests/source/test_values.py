"""A tensor's largest value is found in its raw bytes; a value that is not finite is refused."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phibuild.model.errors import SourceError
from phibuild.source import read_checkpoint
from phibuild.source.values import Magnitude
from phibuild.store import Index
from phibuild.testing._checkpoints.families import Dtype
from phibuild.testing._checkpoints.shards import WritableTensor, read_tensors, write_shards
from phibuild.testing.checkpoints import FAMILIES, write_checkpoint

BITS: dict[Dtype, dict[str, bytes]] = {
    "bf16": {"nan": b"\xc0\x7f", "-inf": b"\x80\xff", "inf": b"\x80\x7f", "-nan": b"\x81\xff"},
    "f16": {"nan": b"\x00\x7e", "-inf": b"\x00\xfc", "inf": b"\x00\x7c", "-nan": b"\x01\xfc"},
    "f32": {
        "nan": b"\x00\x00\xc0\x7f",
        "-inf": b"\x00\x00\x80\xff",
        "inf": b"\x00\x00\x80\x7f",
        "-nan": b"\x01\x00\x80\xff",
    },
}


@given(st.lists(st.floats(width=32), min_size=1), st.integers(1, 9))
def test_the_largest_value_of_floats_is_that_of_python(values: list[float], piece: int) -> None:
    data = memoryview(struct.pack(f"<{len(values)}f", *values))
    magnitude = Magnitude("F32")
    for start in range(0, len(data), piece):
        magnitude.update(data[start : start + piece])
    expected = max(math.inf if math.isnan(value) else abs(value) for value in values)
    assert magnitude.largest == expected


@given(st.lists(st.floats(width=16), min_size=1))
def test_the_largest_value_of_halves_is_that_of_python(values: list[float]) -> None:
    magnitude = Magnitude("F16")
    magnitude.update(memoryview(struct.pack(f"<{len(values)}e", *values)))
    expected = max(math.inf if math.isnan(value) else abs(value) for value in values)
    assert magnitude.largest == expected


def test_other_dtypes_have_no_largest_value() -> None:
    magnitude = Magnitude("U8")
    magnitude.update(memoryview(b"\xff\xff"))
    assert magnitude.largest == 0.0


@pytest.mark.parametrize("dtype", BITS)
@pytest.mark.parametrize("value", BITS["bf16"])
@pytest.mark.parametrize("place", ["embed_tokens", "norm", "down_proj", "lm_head"])
def test_a_value_that_is_not_finite_is_refused_by_its_tensor(
    tmp_path: Path, dtype: Dtype, value: str, place: str
) -> None:
    folder = write_checkpoint(tmp_path / "m", FAMILIES["phi-3"], layers=1, dtype=dtype)
    bits, tensors = BITS[dtype][value], read_tensors(folder)
    name = next(tensor.name for tensor in tensors if place in tensor.name)

    def changed(tensor: WritableTensor) -> Iterator[bytes]:
        content = b"".join(bytes(chunk) for chunk in tensor.chunks())
        middle = len(content) // 2
        yield content[:middle] + bits + content[middle + len(bits) :]

    edited = [
        replace(each, chunks=lambda each=each: changed(each)) if each.name == name else each
        for each in tensors
    ]
    write_shards(folder, edited, 1)
    index = Index(tmp_path / "index.sqlite")
    for _ in range(2):  # the second time it is remembered
        with pytest.raises(SourceError, match=name) as caught:
            read_checkpoint(folder, index)
        assert caught.value.code == "PHI108"
