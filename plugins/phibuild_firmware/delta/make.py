"""Makes a delta: each window of the new file by the way that takes the fewest bytes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from phibuild.api import PackagingError
from phibuild_firmware.delta.differences import subtract
from phibuild_firmware.delta.frames import compressed
from phibuild_firmware.delta.records import (
    COPY,
    DIFFERENCES,
    HEADER_SIZE,
    WHOLE,
    WITH_OLD,
    Header,
    Record,
)
from phibuild_firmware.delta.regions import Region, regions, windows


def make_delta(
    old: Path, new: Path, delta: Path, progress: Callable[[float], None] = lambda _: None
) -> None:
    """Write the delta that makes `new` of `old`, both files; PackagingError PHI703 for folders."""
    for path in (old, new):
        if not path.is_file():
            raise PackagingError(
                f"{path} is not a file",
                hint="deltas are of files: of a folder make one of each file, or of its image",
                code="PHI703",
            )
    size = new.stat().st_size
    digest = hashlib.sha256()
    beside = delta.with_name(f".{delta.name}.{os.getpid()}")
    try:
        with old.open("rb") as before, new.open("rb") as after, beside.open("wb") as out:
            out.write(bytes(HEADER_SIZE))
            count = 0
            for region in regions(old, new):
                for window in windows(region):
                    content = after.read(window.size)
                    digest.update(content)
                    out.write(_smallest(content, window, before).to_bytes())
                    count += 1
                    progress((window.offset + window.size) / max(size, 1))
            out.seek(0)
            header = Header(
                count, old.stat().st_size, size, sha256_of(old).digest(), digest.digest()
            )
            out.write(header.to_bytes())
        beside.replace(delta)
    finally:
        beside.unlink(missing_ok=True)


def sha256_of(path: Path) -> Any:
    """The digest of a file's bytes."""
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256")


def _smallest(content: bytes, window: Region, before: BinaryIO) -> Record:
    before.seek(window.old_offset)
    old = before.read(window.size)
    sha256 = hashlib.sha256(content).digest()

    def record(kind: int, packed: bytes, widths: tuple[int, ...] = ()) -> Record:
        has_old = kind != WHOLE
        return Record(
            kind,
            window.size,
            window.old_offset if has_old else 0,
            len(old) if has_old else 0,
            sha256,
            widths,
            packed,
        )

    if content == old:
        return record(COPY, b"")
    ways = [record(WHOLE, compressed(content))]
    if old:
        ways.append(record(WITH_OLD, compressed(content, old)))
    if len(old) == len(content):
        differences = subtract(content, old, window.widths)
        ways.append(record(DIFFERENCES, compressed(differences), window.widths))
    return min(ways, key=lambda one: len(one.packed))
