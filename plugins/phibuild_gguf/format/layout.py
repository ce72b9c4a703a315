"""Where the tensors of a GGUF file lie, and all that comes before their bytes.

Standard library only; a part of the writing worker. The format is that of docs/gguf.md in the ggml
repository, version 3.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from phibuild_gguf.format.types import GgmlType
from phibuild_gguf.format.values import head, string

ALIGNMENT = 32
PADDING = "phibuild.padding"
PADDED_TO = 1 << 16


class Placed(NamedTuple):
    """A tensor of a file; `offset` is counted from where the tensors begin."""

    name: str
    shape: tuple[int, ...]
    type: GgmlType
    offset: int
    size: int


def placed(tensors: Iterable[tuple[str, tuple[int, ...], GgmlType]]) -> tuple[list[Placed], int]:
    """The tensors one after the other, and the bytes that they take together."""
    found, end = [], 0
    for name, shape, kind in tensors:
        size = kind.size_of(shape)
        found.append(Placed(name, shape, kind, end, size))
        end += size + -size % ALIGNMENT
    return found, end


def beginning(values: Mapping[str, bytes], tensors: Sequence[Placed]) -> bytes:
    """All that comes before the tensors' bytes."""
    content = head(values, tensors=len(tensors)) + b"".join(map(_info, tensors))
    return content + bytes(-len(content) % ALIGNMENT)


def padded(values: Mapping[str, bytes], tensors: Sequence[Placed]) -> dict[str, bytes]:
    """The metadata and a last key of blanks, with which the beginning is a multiple of PADDED_TO:
    tensors stay where they are when a chat template grows or shrinks a little."""
    least = head({**values, PADDING: string("")}) + b"".join(map(_info, tensors))
    return {**values, PADDING: string(" " * (-len(least) % PADDED_TO))}


def _info(one: Placed) -> bytes:
    name = one.name.encode()
    return b"".join(
        (
            struct.pack("<Q", len(name)),
            name,
            struct.pack(f"<I{len(one.shape)}Q", len(one.shape), *one.shape),
            struct.pack("<IQ", one.type.number, one.offset),
        )
    )
