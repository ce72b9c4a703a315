"""Applies a delta in windows: bounded memory, checked at both ends, goes on after a cut."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from phibuild.api import PackagingError
from phibuild_firmware.delta.differences import add
from phibuild_firmware.delta.frames import decompressed
from phibuild_firmware.delta.make import sha256_of
from phibuild_firmware.delta.records import (
    COPY,
    WHOLE,
    WITH_OLD,
    Record,
    damaged,
    read_header,
    read_records,
)

PART = ".part"


def apply_delta(
    old: Path, delta: Path, new: Path, progress: Callable[[float], None] = lambda _: None
) -> None:
    """Make `new`; PackagingError PHI703 for another old file or a damaged delta, before `new` is
    touched. What was made until then lies in `<new>.part`, and the next run goes on with it."""
    with delta.open("rb") as file:
        header = read_header(file)
        if old.stat().st_size != header.old_size or sha256_of(old).digest() != header.old_sha256:
            raise PackagingError(
                f"{old} is not the file that the delta was made from",
                hint="apply it to the file that `phibuild delta make` had as OLD",
                code="PHI703",
            )
        part = new.with_name(new.name + PART)
        part.touch()
        digest = hashlib.sha256()
        with old.open("rb") as before, part.open("r+b") as out:
            goes_on = True
            for record in read_records(file, header):
                content = _made_before(out, record) if goes_on else None
                if content is None:
                    goes_on = False
                    content = _window(record, before)
                    if hashlib.sha256(content).digest() != record.sha256:
                        raise damaged("a window does not come out as it should")
                    out.write(content)
                digest.update(content)
                progress(out.tell() / max(header.new_size, 1))
            out.truncate()
            out.flush()
            os.fsync(out.fileno())
        if digest.digest() != header.new_sha256:
            raise damaged("the file does not come out as it should")
    part.replace(new)


def _made_before(out: BinaryIO, record: Record) -> bytes | None:
    """The window as an earlier run left it; None, and the place to write it, if it is not whole."""
    start = out.tell()
    content = out.read(record.size)
    if len(content) == record.size and hashlib.sha256(content).digest() == record.sha256:
        return content
    out.seek(start)
    return None


def _window(record: Record, before: BinaryIO) -> bytes:
    old = b""
    if record.kind != WHOLE:
        before.seek(record.old_offset)
        old = before.read(record.old_size)
    if record.kind == COPY:
        return old
    content = decompressed(record.packed, record.size, old if record.kind == WITH_OLD else b"")
    return add(content, old, record.widths) if record.widths else content
