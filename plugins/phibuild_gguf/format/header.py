"""Reads the header of a GGUF file: metadata and tensor descriptions, never the tensors' bytes.

Trusts nothing: every count and length is compared with the size of the file before it is used. The
format is that of docs/gguf.md in the ggml repository, versions 2 and 3, little endian. Standard
library only, Python 3.10 and later: workers import it.
"""

from __future__ import annotations

import mmap
import struct
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from phibuild_gguf.format.types import BY_NUMBER, GgmlType

_SCALARS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
_STRING, _ARRAY = 8, 9
_LENGTH = struct.Struct("<Q").unpack_from
_CUT_OFF = "it ends in the middle of its header"
_KEPT = 8
_MOST_DIMENSIONS = 4
_MOST_KEYS = 1 << 16
_MOST_TENSORS = 1 << 18
_LONGEST_HEADER = 256 << 20
"""Bytes; with a vocabulary of 200,000 tokens a header has ten million."""
_DEFAULT_ALIGNMENT = 32
_ALIGNMENTS = {1 << power for power in range(21)}


class BadHeader(ValueError):
    """The file is not a GGUF file, is cut off, or contradicts itself."""


class Array(NamedTuple):
    """An array of the metadata: its length, and its first few values."""

    length: int
    first: tuple[Any, ...]


class KeyValue(NamedTuple):
    """A key and its value, which lies in the file from `start` to `end`, after its type."""

    key: str
    value: Any
    start: int
    end: int


class TensorInfo(NamedTuple):
    """A tensor; the first of `shape` is the length of a row, as in ggml. Its bytes begin `offset`
    bytes after the header's `data`."""

    name: str
    type: GgmlType
    shape: tuple[int, ...]
    size: int
    offset: int


class GgufHeader(NamedTuple):
    """What precedes the tensors' bytes. It ends at `end`; the bytes begin at `data`, the next
    multiple of `alignment`."""

    key_values: tuple[KeyValue, ...]
    tensors: tuple[TensorInfo, ...]
    alignment: int
    end: int
    data: int

    def value(self, key: str) -> Any:
        """The value of a key of the metadata; None without the key."""
        return next((pair.value for pair in self.key_values if pair.key == key), None)


def read_header(path: Path) -> GgufHeader:
    """The header of the file; BadHeader if it is damaged or claims more than the file holds."""
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise BadHeader("it does not begin with GGUF")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _header(_Reader(content, 4))


def _header(reader: _Reader) -> GgufHeader:
    version = reader.scalar("<I")
    if version not in (2, 3):
        raise BadHeader(f"it is of version {version}; supported are 2 and 3")
    tensor_count, key_count = reader.scalar("<Q"), reader.scalar("<Q")
    reader.expect(key_count, 13, "keys", most=_MOST_KEYS)  # a length, a type, one byte
    key_values = tuple(_key_value(reader) for _ in range(key_count))
    _check_unique([pair.key for pair in key_values], "key")
    # two lengths, one dimension, a type, an offset
    reader.expect(tensor_count, 32, "tensors", most=_MOST_TENSORS)
    tensors = tuple(_tensor(reader) for _ in range(tensor_count))
    _check_unique([info.name for info in tensors], "tensor")
    end = reader.position
    alignment = next(
        (pair.value for pair in key_values if pair.key == "general.alignment"), _DEFAULT_ALIGNMENT
    )
    if type(alignment) is not int or alignment not in _ALIGNMENTS:
        raise BadHeader(f"its alignment is {alignment!r}, which is not a power of two up to 1 MiB")
    data = -(-end // alignment) * alignment
    for info in tensors:
        if info.offset % alignment or data + info.offset + info.size > reader.length:
            raise BadHeader(f"its tensor {info.name!r} does not lie within the file")
    return GgufHeader(key_values, tensors, alignment, end, data)


def _key_value(reader: _Reader) -> KeyValue:
    key = reader.string()
    kind = reader.scalar("<I")
    start = reader.position
    return KeyValue(key, reader.value(kind), start, reader.position)


def _tensor(reader: _Reader) -> TensorInfo:
    name = reader.string()
    dimensions = reader.scalar("<I")
    if not 1 <= dimensions <= _MOST_DIMENSIONS:
        raise BadHeader(f"its tensor {name!r} has {dimensions} dimensions")
    shape = tuple(reader.scalar("<Q") for _ in range(dimensions))
    number, offset = reader.scalar("<I"), reader.scalar("<Q")
    if number not in BY_NUMBER:
        raise BadHeader(f"its tensor {name!r} has the unknown type {number}")
    kind = BY_NUMBER[number]
    if not kind.holds(shape[0]):
        raise BadHeader(f"its tensor {name!r} has rows of {shape[0]}, not for {kind.name}")
    return TensorInfo(name, kind, shape, kind.size_of(shape), offset)


def _check_unique(names: list[str], noun: str) -> None:
    if len(set(names)) != len(names):
        (twice, _), *_ = Counter(names).most_common(1)
        raise BadHeader(f"its {noun} {twice!r} is there twice")


class _Reader:
    """A position in the file that never passes its end."""

    def __init__(self, content: mmap.mmap, position: int) -> None:
        self._content = content
        self.length = len(content)
        self.position = position
        self._end = min(self.length, _LONGEST_HEADER)

    def expect(self, count: int, least_size: int, noun: str, *, most: int = 1 << 62) -> None:
        if count > most or count * least_size > self._end - self.position:
            raise BadHeader(f"it claims {count} {noun}, more than the file has room for")

    def scalar(self, layout: str) -> Any:
        start = self._advance(struct.calcsize(layout))
        return struct.unpack_from(layout, self._content, start)[0]

    def string(self) -> str:
        length = self.scalar("<Q")
        start = self._advance(length)
        return self._content[start : start + length].decode("utf-8", errors="replace")

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            return self._array()
        if kind not in _SCALARS:
            raise BadHeader(f"its metadata has the unknown type {kind}")
        return self.scalar(_SCALARS[kind])

    def _array(self) -> Array:
        kind, count = self.scalar("<I"), self.scalar("<Q")
        if kind == _STRING:
            self.expect(count, 8, "texts in one array")
            first = tuple(self.string() for _ in range(min(count, _KEPT)))
            self._pass_strings(count - len(first))
            return Array(count, first)
        if kind not in _SCALARS:
            raise BadHeader(f"its metadata has an array of the type {kind}")
        size = struct.calcsize(_SCALARS[kind])
        self.expect(count, size, "numbers in one array")
        first = tuple(self.scalar(_SCALARS[kind]) for _ in range(min(count, _KEPT)))
        self._advance((count - len(first)) * size)
        return Array(count, first)

    def _pass_strings(self, count: int) -> None:
        # A vocabulary has 200,000 of them: three times as quick as a call for each.
        position, last, content = self.position, self._end - 8, self._content
        for _ in range(count):
            if position > last:
                raise BadHeader(_CUT_OFF)
            position += 8 + _LENGTH(content, position)[0]
        self._advance(position - self.position)

    def _advance(self, size: int) -> int:
        start = self.position
        if size > self._end - start:
            raise BadHeader(_CUT_OFF)
        self.position = start + size
        return start
