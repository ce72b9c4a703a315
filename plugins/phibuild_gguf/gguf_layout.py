"""The head of a GGUF file as bytes: metadata of another file, changed keys, tensors, padding.

Standard library only; a part of the writing worker. The format is that of docs/gguf.md in the ggml
repository, version 3.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING or __package__:
    from phibuild_gguf.ggml_types import GgmlType
    from phibuild_gguf.gguf_header import Header
else:
    from ggml_types import GgmlType
    from gguf_header import Header

ALIGNMENT = 32
PADDING_KEY = "phibuild.padding"
PADDED_TO = 1 << 16
_U32, _STRING = 4, 8


class Placed(NamedTuple):
    """A tensor of the file that is written; `offset` is counted from where the tensors begin."""

    name: str
    shape: tuple[int, ...]
    type: GgmlType
    offset: int
    size: int


def placed(tensors: Iterable[tuple[str, tuple[int, ...], GgmlType]]) -> tuple[list[Placed], int]:
    """The tensors one after the other, and the bytes that they take together."""
    found, end = [], 0
    for name, shape, kind in tensors:
        size = size_of(shape, kind)
        found.append(Placed(name, shape, kind, end, size))
        end += size + -size % ALIGNMENT
    return found, end


def size_of(shape: tuple[int, ...], kind: GgmlType) -> int:
    """Bytes of a tensor."""
    size = shape[0] // kind.block_size * kind.block_bytes
    for length in shape[1:]:
        size *= length
    return size


def read_entries(path: Path, header: Header) -> dict[str, bytes]:
    """The metadata of a file: type and value of each key, as they are stored, in their order."""
    with path.open("rb") as file:
        content = file.read(header.end)
    return {entry.key: content[entry.start - 4 : entry.end] for entry in header.entries}


def u32(value: int) -> bytes:
    """Type and value of a number."""
    return struct.pack("<II", _U32, value)


def string(value: bytes) -> bytes:
    """Type and value of a text."""
    return struct.pack("<IQ", _STRING, len(value)) + value


def head(entries: Mapping[str, bytes], tensors: Iterable[Placed], *, pad: bool) -> bytes:
    """All that comes before the tensors' bytes.

    With `pad` it is filled up to a multiple of PADDED_TO by a last key of blanks, so that tensors
    stay where they are when a chat template grows or shrinks a little.
    """
    keys = b"".join(_key(key) + value for key, value in entries.items())
    infos = [_info(one) for one in tensors]
    content = b"".join(infos)
    count = len(entries)
    if pad:
        least = len(_START.pack(b"", 0, 0, 0)) + len(keys) + len(content)
        least += len(_key(PADDING_KEY) + string(b""))
        keys += _key(PADDING_KEY) + string(b" " * (-least % PADDED_TO))
        count += 1
    result = _START.pack(b"GGUF", 3, len(infos), count) + keys + content
    return result + bytes(-len(result) % ALIGNMENT)


_START = struct.Struct("<4sIQQ")


def _key(key: str) -> bytes:
    encoded = key.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def _info(one: Placed) -> bytes:
    dimensions = struct.pack(f"<I{len(one.shape)}Q", len(one.shape), *one.shape)
    return _key(one.name) + dimensions + struct.pack("<IQ", one.type.number, one.offset)

