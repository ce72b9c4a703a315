"""Where the tensors of a GGUF file lie, and the bytes that precede them.

The format is that of docs/gguf.md in the ggml repository, version 3. Standard library only: workers
import it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from phibuild_gguf.format.types import GgmlType
from phibuild_gguf.format.values import Values, head, string

ALIGNMENT = 32
PADDING = "phibuild.padding"
PADDED_TO = 1 << 16


class TensorPlace(NamedTuple):
    """A tensor of a file; `offset` is relative to the first tensor's."""

    name: str
    shape: tuple[int, ...]
    type: GgmlType
    offset: int
    size: int


def place_tensors(
    tensors: Iterable[tuple[str, tuple[int, ...], GgmlType]],
) -> tuple[list[TensorPlace], int]:
    """The tensors one after the other, and their total size in bytes."""
    places, end = [], 0
    for name, shape, kind in tensors:
        size = kind.size_of(shape)
        places.append(TensorPlace(name, shape, kind, end, size))
        end += size + -size % ALIGNMENT
    return places, end


def beginning(values: Mapping[str, bytes], tensors: Sequence[TensorPlace]) -> bytes:
    """The bytes that precede the tensors' own."""
    content = head(values, tensors=len(tensors)) + b"".join(map(_info, tensors))
    return content + bytes(-len(content) % ALIGNMENT)


def padded(values: Mapping[str, bytes], tensors: Sequence[TensorPlace]) -> Values:
    """The metadata and a last key of blanks that rounds the beginning up to PADDED_TO bytes:
    tensors keep their offsets when a chat template grows or shrinks a little."""
    least = head({**values, PADDING: string("")}) + b"".join(map(_info, tensors))
    return {**values, PADDING: string(" " * (-len(least) % PADDED_TO))}


def _info(tensor: TensorPlace) -> bytes:
    name, dimensions = tensor.name.encode(), len(tensor.shape)
    return b"".join(
        (
            struct.pack("<Q", len(name)),
            name,
            struct.pack(f"<I{dimensions}Q", dimensions, *tensor.shape),
            struct.pack("<IQ", tensor.type.number, tensor.offset),
        )
    )
