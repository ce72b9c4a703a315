"""Applies a delta window by window: with bounded memory, checked before and after, resumable."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from phibuild.api import PackagingError, open_regular
from phibuild_delta.cores import in_order
from phibuild_delta.differences import add
from phibuild_delta.frames import decompressed
from phibuild_delta.records import (
    COPY,
    DIFFERENCES,
    HEADER_SIZE,
    RAW,
    TREE,
    WITH_OLD,
    Record,
    damaged,
    read_files,
    read_header,
    read_records,
)
from phibuild_delta.spaces import File, Space, file_at, files_of

_LONGEST_NAME = 50


def apply_delta(
    old: Path, delta: Path, new: Path, progress: Callable[[float], None] = lambda _: None
) -> None:
    """Write `new`; PackagingError PHI703 for other old bytes or a damaged delta.

    The result is at `partial_path` until all of it is checked. The next run resumes there: it reads
    each window, and writes those whose bytes are wrong. `new` is never replaced: PackagingError
    PHI703 if it exists and is not already the result. Memory: about 16 times the delta's window for
    each of at most eight cores.
    """
    with _opened(delta) as file:
        header = read_header(file)
        old_files, new_files = read_files(file, header)
        if old.is_dir() != (header.kind == TREE) or _sizes(files_of(old)) != _sizes(old_files):
            raise _wrong_old(old)
        if os.path.lexists(new):
            _check_existing(new, new_files, header.new_sha256)
            return
        with Space(old, old_files) as before:
            if before.sha256() != header.old_sha256:
                raise _wrong_old(old)
            part = partial_path(new, delta)
            _prepare(part, new_files, is_tree=header.kind == TREE)
            with Space(part, new_files, writable=True) as after:
                windows = _windows(read_records(file, header), new_files, header.window)
                done = 0
                for size in in_order(lambda window: _write(window, before, after), windows):
                    done += size
                    progress(done / header.new_size)
                after.finish()
                if after.sha256() != header.new_sha256:
                    raise damaged("the result has another digest than its header says")
    if header.kind == TREE:
        for folder in [part, *(path for path in part.rglob("*") if path.is_dir())]:
            _sync(folder)
    if os.path.lexists(new):  # another run was quicker
        raise _exists(new)
    part.replace(new)
    _sync(new.absolute().parent)


def partial_path(new: Path, delta: Path) -> Path:
    """Where the unfinished result is: beside `new`, under a name with a digest of the delta's
    header, which no other file has."""
    with _opened(delta) as file:
        digest = hashlib.sha256(file.read(HEADER_SIZE)).hexdigest()
    return new.with_name(f".{new.name[:_LONGEST_NAME]}.{digest[:16]}.phi-part")


def _opened(delta: Path) -> BinaryIO:
    try:
        return open_regular(delta)
    except OSError as error:
        raise PackagingError(
            f"{delta} cannot be read: {error}", hint="name a delta", code="PHI703"
        ) from None


class _Window(NamedTuple):
    offset: int
    record: Record
    largest: int


def _windows(records: Iterator[Record], files: Sequence[File], largest: int) -> Iterator[_Window]:
    offset = 0
    for record in records:
        file = file_at(files, offset)
        if file is None or offset + record.size > file.end:
            raise damaged("one of its records crosses from file to file")
        yield _Window(offset, record, largest)
        offset += record.size


def _write(window: _Window, before: Space, after: Space) -> int:
    """Write a window unless an earlier run did; returns its size."""
    offset, record, largest = window
    if _matches(after.read(offset, record.size), record):
        return record.size
    content = _content(record, before, largest)
    if not _matches(content, record):
        raise damaged("a window has another digest than its record says")
    after.write(offset, content)
    return record.size


def _matches(content: bytes, record: Record) -> bool:
    return len(content) == record.size and hashlib.sha256(content).digest() == record.sha256


def _content(record: Record, before: Space, largest: int) -> bytes:
    if record.kind == RAW:
        return record.packed
    old = before.read(record.old_offset, record.old_size) if record.old_size else b""
    if len(old) != record.old_size:
        raise damaged("one of its records reads old bytes of more than one file")
    if record.kind == COPY:
        return old
    if record.kind == DIFFERENCES:
        try:
            return add(decompressed(record.packed, largest), old, record.fields)
        except ValueError as error:
            raise damaged(str(error)) from None
    return decompressed(record.packed, record.size, old if record.kind == WITH_OLD else b"")


def _sizes(files: Sequence[File]) -> list[tuple[str, int]]:
    return [(file.path, file.size) for file in files]


def _prepare(part: Path, files: Sequence[File], *, is_tree: bool) -> None:
    """Create the folders, and remove what an earlier run left that is not part of the result."""
    if part.is_dir() != is_tree or part.is_symlink():
        _remove(part)
    if not is_tree:
        return
    part.mkdir(exist_ok=True)
    paths = {part / file.path for file in files}
    folders = {folder for path in paths for folder in path.parents}
    for path in sorted(part.rglob("*"), reverse=True):
        is_file = path in paths and path.is_file()
        is_folder = path in folders and path.is_dir()
        if path.is_symlink() or not (is_file or is_folder):
            _remove(path)
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _check_existing(new: Path, files: Sequence[File], sha256: bytes) -> None:
    """PackagingError PHI703 unless it is the result of an earlier run."""
    with contextlib.suppress(PackagingError):  # it holds a file that no result has
        if files_of(new) == tuple(files):
            with Space(new, files) as existing:
                if existing.sha256() == sha256:
                    return
    raise _exists(new)


def _exists(new: Path) -> PackagingError:
    return PackagingError(
        f"{new} already exists, and is not the result of the delta",
        hint="write to a path that does not exist: -o NEW",
        code="PHI703",
    )


def _wrong_old(old: Path) -> PackagingError:
    return PackagingError(
        f"{old} is not what the delta was made from",
        hint="apply it to the OLD of `phibuild delta make`",
        code="PHI703",
    )


def _sync(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
