"""Which old bytes correspond to which new ones: tensors by their names, files by their paths or, if
they were renamed, by their bytes, and the rest by its place."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from phibuild_delta.records import Field
from phibuild_delta.spaces import File, Space, file_at
from phibuild_delta.tensors import PLAIN, Contents, TensorPlace, contents_of


class Region(NamedTuple):
    """Bytes of the new space, and old bytes that may be like them. `old_offset` is None if there
    are none."""

    offset: int
    size: int
    old_offset: int | None
    old_size: int
    fields: tuple[Field, ...]


def regions(old: Path, before: Space, new: Path, after: Space) -> Iterator[Region]:
    """The regions of the new space in order, without a gap, none of which crosses files."""
    old_contents, new_contents = contents_of(old, before.files), contents_of(new, after.files)
    offsets = {
        (tensor.name, tensor.type, tensor.size): tensor.offset for tensor in old_contents.tensors
    }
    twins = _twins(old_contents, before, new_contents, after)
    # A file's beginning is a mark without a size; a tensor at the same place comes after it.
    marks = [TensorPlace("", "", file.start, 0) for file in new_contents.files]
    marks += sorted(new_contents.tensors, key=lambda tensor: tensor.offset)
    position = 0
    old_position: int | None = 0
    for mark in sorted(marks, key=lambda mark: (mark.offset, mark.size > 0)):
        if mark.offset < position:
            continue  # a tensor that shares the bytes of another
        if mark.offset > position:
            size = mark.offset - position
            yield Region(position, size, old_position, size, PLAIN)
        if mark.size == 0:
            old_position = twins.get(mark.offset)
        else:
            offset = offsets.get((mark.name, mark.type, mark.size))
            yield Region(mark.offset, mark.size, offset, mark.size, mark.fields)
            old_position = old_position if offset is None else offset + mark.size
        position = mark.offset + mark.size
    if position < after.size:
        size = after.size - position
        yield Region(position, size, old_position, size, PLAIN)


def windows(region: Region, window: int, old_files: Sequence[File]) -> Iterator[Region]:
    """The region in pieces of whole blocks, each with old bytes of one file."""
    stride = sum(field.width for field in region.fields)
    fields = region.fields if stride <= window and region.size % stride == 0 else PLAIN
    step = window // stride * stride if fields is region.fields else window
    for start in range(0, region.size, step):
        size = min(step, region.size - start)
        old = None if region.old_offset is None else region.old_offset + start
        file = None if old is None else file_at(old_files, old)
        if old is None or file is None:
            yield Region(region.offset + start, size, None, 0, fields)
        else:
            yield Region(region.offset + start, size, old, min(size, file.end - old), fields)


def _twins(
    old_contents: Contents, before: Space, new_contents: Contents, after: Space
) -> dict[int, int]:
    """The start of the old file with the path or the bytes of a new one, by the new one's start."""
    by_path = {file.path: file.start for file in old_contents.files}
    twins = {file.start: by_path[file.path] for file in new_contents.files if file.path in by_path}
    renamed = [file for file in new_contents.files if file.size and file.path not in by_path]
    sizes = {file.size for file in renamed}
    by_digest = {
        _digest(file, before): file.start for file in old_contents.files if file.size in sizes
    }
    for file in renamed if by_digest else ():
        start = by_digest.get(_digest(file, after))
        if start is not None:
            twins[file.start] = start
    return twins


def _digest(file: File, space: Space) -> bytes:
    digest = hashlib.sha256()
    for at in range(file.start, file.end, 1 << 20):
        digest.update(space.read(at, min(1 << 20, file.end - at)))
    return digest.digest()
