"""Makes a delta: each window of the new bytes becomes the record with the fewest bytes."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from phibuild.api import PackagingError
from phibuild_delta.cores import in_order
from phibuild_delta.differences import subtract
from phibuild_delta.frames import compressed, compressed_parts
from phibuild_delta.records import (
    COPY,
    DIFFERENCES,
    FILE,
    LARGEST_WINDOW,
    MAGIC,
    RAW,
    SMALLEST_WINDOW,
    TREE,
    WITH_OLD,
    ZSTD,
    Field,
    Header,
    Record,
    write_files,
)
from phibuild_delta.regions import Region, regions, windows
from phibuild_delta.spaces import Space, files_of

WINDOW = 1 << 20
_GOOD_ENOUGH = 0.3
"""Differences of no more than this share of a window are used without trying slower encodings."""


def make_delta(
    old: Path,
    new: Path,
    delta: Path,
    progress: Callable[[float], None] = lambda _: None,
    *,
    window: int = WINDOW,
) -> None:
    """Write the delta that turns `old` into `new`, both files or both folders.

    Memory: about 24 times `window` for each of at most eight cores. PackagingError PHI703 for
    artifacts that deltas do not support.
    """
    if old.is_dir() != new.is_dir():
        raise PackagingError(
            f"{old} and {new} are not both files or both folders",
            hint="both must be artifacts of one format",
            code="PHI703",
        )
    if not SMALLEST_WINDOW <= window <= LARGEST_WINDOW:
        raise PackagingError(
            f"a window of {window:,} bytes is not supported",
            hint=f"it must be between {SMALLEST_WINDOW:,} and {LARGEST_WINDOW:,}",
            code="PHI703",
        )
    _refuse_to_replace(delta, old, new)
    is_tree = new.is_dir()
    old_files, new_files = files_of(old), files_of(new)
    beside = delta.with_name(f".{delta.name[:50]}.{secrets.token_hex(8)}.phi-part")
    try:
        with Space(old, old_files) as before, Space(new, new_files) as after:
            entries = write_files(old_files) + write_files(new_files) if is_tree else b""
            header = Header(
                kind=TREE if is_tree else FILE,
                window=window,
                records=0,
                old_size=before.size,
                new_size=after.size,
                old_sha256=before.sha256(),
                new_sha256=after.sha256(),
                old_files=len(old_files) if is_tree else 0,
                new_files=len(new_files) if is_tree else 0,
                files_size=len(entries),
            )
            parts = (
                part
                for region in regions(old, before, new, after)
                for part in windows(region, window, old_files)
            )
            with beside.open("xb") as out:
                out.write(header.to_bytes() + entries)
                count = done = 0
                for record in in_order(lambda part: _smallest(part, before, after, window), parts):
                    out.write(record.to_bytes())
                    count += 1
                    done += record.size
                    progress(done / after.size)
                out.seek(0)
                out.write(header._replace(records=count).to_bytes())
        beside.replace(delta)
    finally:
        beside.unlink(missing_ok=True)


def _refuse_to_replace(delta: Path, *sources: Path) -> None:
    """PackagingError PHI703 unless the path is free or holds a delta."""
    if not os.path.lexists(delta):
        return
    if delta.is_file() and not delta.is_symlink():
        with delta.open("rb") as file:
            is_delta = file.read(len(MAGIC)) == MAGIC
        if is_delta and not any(delta.samefile(source) for source in sources):
            return
    raise PackagingError(
        f"{delta} already exists, and is not a delta",
        hint="write to another path: -o DELTA",
        code="PHI703",
    )


def _smallest(region: Region, before: Space, after: Space, window: int) -> Record:
    content = after.read(region.offset, region.size)
    old_offset = region.old_offset or 0
    old = b"" if region.old_offset is None else before.read(old_offset, region.old_size)
    sha256 = hashlib.sha256(content).digest()

    def record(kind: int, packed: bytes, fields: tuple[Field, ...] = ()) -> Record:
        old_bytes = (0, 0) if kind in (RAW, ZSTD) else (old_offset, len(old))
        return Record(kind, region.size, *old_bytes, sha256, fields, packed)

    if content == old:
        return record(COPY, b"")
    records = [record(RAW, content)]
    if len(old) == len(content):
        parts, fields = subtract(content, old, region.fields)
        if sum(map(len, parts)) <= window:
            records.append(record(DIFFERENCES, compressed_parts(parts), fields))
            if len(records[-1].packed) <= _GOOD_ENOUGH * region.size:
                return records[-1]
    records.append(record(ZSTD, compressed(content)))
    if old:
        records.append(record(WITH_OLD, compressed(content, old)))
    return min(records, key=lambda candidate: len(candidate.packed))
