"""What of the new bytes corresponds to what of the old ones: tensors by their names, files by their
paths or, where they were renamed, by their bytes, the rest by where it lies."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from phibuild_delta.records import Field
from phibuild_delta.spaces import File, Space, place
from phibuild_delta.tensors import PLAIN, Contents, TensorPlace, contents_of


class Region(NamedTuple):
    """Bytes of the new space, and those of the old one that they may be like; an `old_offset` of
    None where nothing is."""

    offset: int
    size: int
    old_offset: int | None
    old_size: int
    fields: tuple[Field, ...]


def regions(old: Path, before: Space, new: Path, after: Space) -> Iterator[Region]:
    """The regions of the new space in order, without a gap, none of which crosses files."""
    old_content, new_content = contents_of(old, before.files), contents_of(new, after.files)
    known = {(one.name, one.type, one.size): one.offset for one in old_content.tensors}
    twins = _twins(old_content, before, new_content, after)
    # A file's beginning is a mark without a size; a tensor at the same place comes after it.
    marks = [TensorPlace("", "", one.start, 0) for one in new_content.files]
    marks += sorted(new_content.tensors, key=lambda one: one.offset)
    position = 0
    old_position: int | None = 0
    for mark in sorted(marks, key=lambda one: (one.offset, one.size > 0)):
        if mark.offset < position:
            continue  # a tensor that shares the bytes of another
        if mark.offset > position:
            size = mark.offset - position
            yield Region(position, size, old_position, size, PLAIN)
        if mark.size == 0:
            old_position = twins.get(mark.offset)
        else:
            found = known.get((mark.name, mark.type, mark.size))
            yield Region(mark.offset, mark.size, found, mark.size, mark.fields)
            old_position = old_position if found is None else found + mark.size
        position = mark.offset + mark.size
    if position < after.size:
        size = after.size - position
        yield Region(position, size, old_position, size, PLAIN)


def windows(region: Region, window: int, old_files: Sequence[File]) -> Iterator[Region]:
    """The region in pieces of whole blocks, each with old bytes of one file."""
    stride = sum(one.width for one in region.fields)
    fields = region.fields if stride <= window and region.size % stride == 0 else PLAIN
    step = window // stride * stride if fields is region.fields else window
    for start in range(0, region.size, step):
        size = min(step, region.size - start)
        where = None if region.old_offset is None else region.old_offset + start
        file = None if where is None else place(old_files, where)
        if where is None or file is None:
            yield Region(region.offset + start, size, None, 0, fields)
        else:
            yield Region(region.offset + start, size, where, min(size, file.end - where), fields)


def _twins(
    old_content: Contents, before: Space, new_content: Contents, after: Space
) -> dict[int, int]:
    """Where the old file begins that a new one, by where it begins, may be like."""
    by_path = {one.path: one.start for one in old_content.files}
    found, by_digest = {}, {}
    left = [one for one in new_content.files if one.size and one.path not in by_path]
    sizes = {one.size for one in left}
    for one in old_content.files:
        if one.size in sizes:
            by_digest[_digest(one, before)] = one.start
    for one in new_content.files:
        if one.path in by_path:
            found[one.start] = by_path[one.path]
    for one in left:
        start = by_digest.get(_digest(one, after)) if by_digest else None
        if start is not None:
            found[one.start] = start
    return found


def _digest(file: File, space: Space) -> bytes:
    digest = hashlib.sha256()
    for at in range(file.start, file.end, 1 << 20):
        digest.update(space.read(at, min(1 << 20, file.end - at)))
    return digest.digest()
