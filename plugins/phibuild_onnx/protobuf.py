"""Reads the fields of a protobuf message within bounds.

Wire format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator

Field = tuple[int, int | memoryview]


def fields(message: memoryview) -> Iterator[Field]:
    """Pairs of field number and value: an integer for a varint or a fixed field, else the bytes.
    ValueError where the message is cut off or malformed."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, position = _varint(message, position)
            yield number, value
            continue
        if kind == 2:
            size, position = _varint(message, position)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind} is not supported")
        if position + size > len(message):
            raise ValueError("a field ends beyond its message")
        chunk = message[position : position + size]
        yield number, chunk if kind == 2 else int.from_bytes(chunk, "little")
        position += size


def varints(packed: memoryview) -> Iterator[int]:
    """The integers of a packed repeated field."""
    position = 0
    while position < len(packed):
        value, position = _varint(packed, position)
        yield value


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            raise ValueError("the message ends inside a number")
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number is longer than ten bytes")
