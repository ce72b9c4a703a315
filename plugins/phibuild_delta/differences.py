"""Differences of two windows, sorted by the fields of quantization blocks: where all weights moved
a little, scales differ in low bits and quants hardly at all, so each field compresses well alone.

Where few bytes differ, the distances between them and their values are stored instead: zstd spends
a bit on every literal and at least two bytes on a match, twice the size of such a list.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any

from phibuild_delta.records import Field

_SPARSE_BELOW = 0.25


def subtract(
    new: bytes, old: bytes, fields: Sequence[Field]
) -> tuple[list[bytes], tuple[Field, ...]]:
    """New minus old, field after field, in parts of like bytes; and the fields, with the sparse
    ones marked. Both windows have the same length, of whole blocks."""
    import numpy as np

    parts: list[bytes] = []
    chosen = []
    blocks = (_blocks(new, fields), _blocks(old, fields))
    for field, new_column, old_column in _columns(fields, *blocks):
        if field.is_number:
            moved = _numbers(new_column, field.width) - _numbers(old_column, field.width)
            sign = moved >> (8 * field.width - 1)
            folded = (moved << 1) ^ (0 - sign)  # small numbers of either sign have few bits
            planes = folded.view(np.uint8).reshape(-1, field.width).T
            parts += [plane.tobytes() for plane in planes]
        else:
            plane = (new_column - old_column).ravel()
            places = np.flatnonzero(plane)
            is_sparse = len(places) < _SPARSE_BELOW * len(plane)
            field = field._replace(is_sparse=is_sparse)
            parts += _sparse(plane, places) if is_sparse else [plane.tobytes()]
        chosen.append(field)
    return parts, tuple(chosen)


def add(differences: bytes, old: bytes, fields: Sequence[Field]) -> bytes:
    """The new window of `subtract`; ValueError for differences that do not fit the old one."""
    import numpy as np

    content = np.frombuffer(differences, np.uint8)
    new = np.frombuffer(old, np.uint8).copy()
    blocks = _blocks(new, fields)
    at = 0
    for field, column in _columns(fields, blocks):
        size = column.size
        if field.is_sparse:
            plane, used = _dense(content[at:], size)
        else:
            plane, used = content[at : at + size], size
            if len(plane) != size:
                raise ValueError("differences are missing")
        at += used
        if field.is_number:
            folded = _numbers(plane.reshape(field.width, -1).T, field.width)
            moved = (folded >> 1) ^ (0 - (folded & 1))
            numbers = _numbers(column, field.width) + moved
            column[:] = numbers.view(np.uint8).reshape(-1, field.width)
        else:
            column += plane.reshape(column.shape)
    if at != len(content):
        raise ValueError("there are more differences than bytes")
    return bytes(new.tobytes())


def _blocks(content: Any, fields: Sequence[Field]) -> Any:
    import numpy as np

    stride = sum(field.width for field in fields)
    return np.frombuffer(content, np.uint8).reshape(-1, stride)


def _columns(fields: Sequence[Field], *blocks: Any) -> Iterator[tuple[Any, ...]]:
    at = 0
    for field in fields:
        yield (field, *(block[:, at : at + field.width] for block in blocks))
        at += field.width


def _numbers(column: Any, width: int) -> Any:
    import numpy as np

    return np.ascontiguousarray(column).reshape(-1).view(f"<u{width}")


def _sparse(plane: Any, places: Any) -> list[bytes]:
    """A count, the number of bytes to skip before each entry, and the byte of each entry. A
    distance above 255 needs entries of 255 and a zero."""
    import numpy as np

    gaps = np.diff(places, prepend=-1) - 1
    entry = np.cumsum((gaps >> 8) + 1) - 1
    count = int(entry[-1]) + 1 if len(entry) else 0
    skipped: Any = np.full(count, 255, np.uint8)
    values: Any = np.zeros(count, np.uint8)
    skipped[entry], values[entry] = gaps & 255, plane[places]
    return [struct.pack("<I", count) + skipped.tobytes(), values.tobytes()]


def _dense(content: Any, size: int) -> tuple[Any, int]:
    """The plane of `size` bytes, and how many bytes of `content` it used."""
    import numpy as np

    count = int.from_bytes(content[:4].tobytes(), "little")
    if len(content) < 4 + 2 * count:
        raise ValueError("a list of differences is cut off")
    places = np.cumsum(content[4 : 4 + count].astype(np.int64) + 1) - 1
    if count and places[-1] >= size:
        raise ValueError("a difference is beyond its window")
    plane: Any = np.zeros(size, np.uint8)
    plane[places] = content[4 + count : 4 + 2 * count]
    return plane, 4 + 2 * count
