"""What of a new file corresponds to what of an old one: tensors by their names, the rest by where
it lies. A region is one or the other, cut into windows later."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from phibuild.api import Tensor, describe_file
from phibuild_firmware.delta.records import WINDOW
from phibuild_firmware.descriptor import SIZE, BadImage, parse

_HALF = (1, 1)
_FIELDS: dict[str, tuple[int, ...]] = {
    # Fields of ggml's blocks as ggml-common.h declares them; each half float as its two bytes.
    "f32": (1,) * 4,
    "f16": _HALF,
    "bf16": _HALF,
    "q4_0": (*_HALF, 16),
    "q4_1": (*_HALF, *_HALF, 16),
    "q5_0": (*_HALF, 4, 16),
    "q5_1": (*_HALF, *_HALF, 4, 16),
    "q8_0": (*_HALF, 32),
    "q2_k": (16, 64, *_HALF, *_HALF),
    "q3_k": (32, 64, 12, *_HALF),
    "q4_k": (*_HALF, *_HALF, 12, 128),
    "q5_k": (*_HALF, *_HALF, 12, 32, 128),
    "q6_k": (128, 64, 16, *_HALF),
    "iq4_nl": (*_HALF, 16),
    "iq4_xs": (*_HALF, 2, 4, 128),
}
_PLAIN = (1,)
_HEADER_ROOM = 64 << 20
"""Bytes of an image's payload that surely hold a GGUF file's header."""


class Region(NamedTuple):
    """Bytes of the new file, and where those of the old file begin that they may be like."""

    offset: int
    size: int
    old_offset: int
    widths: tuple[int, ...]


def regions(old: Path, new: Path) -> Iterator[Region]:
    """The regions of the new file in order, without a gap."""
    before = {(one.name, one.type, one.size): one for one in _tensors(old)}
    position = old_position = 0
    for tensor in sorted(_tensors(new), key=lambda one: one.offset or 0):
        assert tensor.offset is not None
        if tensor.offset < position:
            continue  # it shares the bytes of another
        if tensor.offset > position:
            yield Region(position, tensor.offset - position, old_position, _PLAIN)
        known = before.get((tensor.name, tensor.type, tensor.size))
        old_position = known.offset if known and known.offset is not None else old_position
        widths = _FIELDS.get(tensor.type.lower(), _PLAIN)
        yield Region(tensor.offset, tensor.size, old_position, widths)
        position = tensor.offset + tensor.size
        old_position += tensor.size
    if position < new.stat().st_size:
        yield Region(position, new.stat().st_size - position, old_position, _PLAIN)


def windows(region: Region) -> Iterator[Region]:
    """The region in pieces of whole blocks."""
    stride = sum(region.widths)
    step = WINDOW // stride * stride
    for start in range(0, region.size, step):
        size = min(step, region.size - start)
        yield Region(region.offset + start, size, region.old_offset + start, region.widths)


def _tensors(path: Path) -> list[Tensor]:
    """The tensors that lie at a known place; none of a file that no backend knows."""
    with path.open("rb") as file:
        try:
            image = parse(file.read(SIZE))
        except BadImage:
            found = describe_file(path)
            return [one for one in found.tensors if one.offset is not None] if found else []
        # Backends read files: one that is a hole behind its header serves.
        with tempfile.TemporaryDirectory(prefix="phibuild-") as folder:
            payload = Path(folder) / "payload"
            file.seek(image.payload_offset)
            payload.write_bytes(file.read(min(image.payload_size, _HEADER_ROOM)))
            with payload.open("r+b") as hollow:
                hollow.truncate(image.payload_size)
            found = describe_file(payload)
    return [
        one._replace(offset=one.offset + image.payload_offset)
        for one in (found.tensors if found else ())
        if one.offset is not None
    ]
