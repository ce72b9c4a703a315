"""Differences of two windows, sorted by the fields of quantization blocks: where all weights moved
a little, scales differ in low bits and quants hardly, and each compresses among its like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def subtract(new: bytes, old: bytes, widths: Sequence[int]) -> bytes:
    """New minus old modulo 256, field after field; both of one length."""
    np = _numpy()
    moved = np.frombuffer(new, np.uint8) - np.frombuffer(old, np.uint8)
    stride = sum(widths)
    whole = len(moved) // stride * stride
    blocks = moved[:whole].reshape(-1, stride)
    parts, at = [], 0
    for width in widths:
        parts.append(blocks[:, at : at + width].tobytes())
        at += width
    return b"".join([*parts, moved[whole:].tobytes()])


def add(differences: bytes, old: bytes, widths: Sequence[int]) -> bytes:
    """What `subtract` was given as new; the lengths are equal."""
    np = _numpy()
    sorted_ = np.frombuffer(differences, np.uint8)
    stride = sum(widths)
    count = len(sorted_) // stride
    moved = np.empty(len(sorted_), np.uint8)
    blocks = moved[: count * stride].reshape(-1, stride)
    at = column = 0
    for width in widths:
        part = sorted_[at : at + count * width]
        blocks[:, column : column + width] = part.reshape(count, width)
        at += count * width
        column += width
    moved[count * stride :] = sorted_[at:]
    moved += np.frombuffer(old, np.uint8)
    return bytes(moved.tobytes())


def _numpy() -> Any:
    import numpy

    return numpy
