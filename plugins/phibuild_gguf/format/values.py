"""Metadata of a GGUF file as bytes: each value after the number of its type, by key, in order.

Values of one file can be copied to another without interpreting them. The format is that of
docs/gguf.md in the ggml repository, version 3, little endian. Standard library only, Python 3.10
and later: workers import it.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from phibuild_gguf.format.header import GgufHeader, read_header

Values = dict[str, bytes]
"""Metadata by key; each value is preceded by the number of its type."""

_VERSION = 3
_TYPE = struct.Struct("<I")
_LENGTH = struct.Struct("<Q").unpack_from
_FIRST = 16  # offset of the first item: after two types and the number of items
_UINT16, _UINT32, _INT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 2, 4, 5, 6, 7, 8, 9


def uint16(number: int) -> bytes:
    """A number from 0 to 65535; struct.error if it is not."""
    return struct.pack("<IH", _UINT16, number)


def uint32(number: int) -> bytes:
    """A number from 0 to 4294967295; struct.error if it is not."""
    return struct.pack("<II", _UINT32, number)


def int32(number: int) -> bytes:
    """A signed number of 32 bits; struct.error if it does not fit."""
    return struct.pack("<Ii", _INT32, number)


def float32(number: float) -> bytes:
    """The nearest 32-bit float; OverflowError if the number is too large."""
    return struct.pack("<If", _FLOAT32, number)


def boolean(truth: bool) -> bytes:
    """True or false."""
    return struct.pack("<I?", _BOOL, truth)


def string(text: str) -> bytes:
    """A text, in UTF-8."""
    return _TYPE.pack(_STRING) + _plain(text)


def strings(texts: Sequence[str]) -> bytes:
    """A list of texts."""
    return struct.pack("<IIQ", _ARRAY, _STRING, len(texts)) + b"".join(map(_plain, texts))


def head(values: Mapping[str, bytes], *, tensors: int = 0) -> bytes:
    """The beginning of a file, up to the descriptions of its tensors."""
    beginning = b"GGUF" + struct.pack("<IQQ", _VERSION, tensors, len(values))
    return beginning + b"".join(_plain(key) + value for key, value in values.items())


def read_values(path: Path, header: GgufHeader | None = None) -> Values:
    """The metadata of a file in its order; BadHeader if the file is damaged. `header` is the file's
    own, if it is already read."""
    header = header or read_header(path)
    with path.open("rb") as file:
        content = file.read(header.end)
    return {pair.key: content[pair.start - _TYPE.size : pair.end] for pair in header.key_values}


class Strings:
    """A list of texts as `strings` writes it, without an object for each text."""

    def __init__(self, value: bytes) -> None:
        self._value = value
        self.count: int = _LENGTH(value, 8)[0]

    def __contains__(self, text: str) -> bool:
        return _plain(text) in self._value

    def at(self, positions: Collection[int]) -> dict[int, str]:
        """The texts at the given positions, counted from 0."""
        texts: dict[int, str] = {}
        value, begin = self._value, _FIRST
        for position in range(max(positions, default=-1) + 1):
            end = begin + 8 + _LENGTH(value, begin)[0]
            if position in positions:
                texts[position] = value[begin + 8 : end].decode("utf-8", errors="replace")
            begin = end
        return texts


def _plain(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<Q", len(encoded)) + encoded
