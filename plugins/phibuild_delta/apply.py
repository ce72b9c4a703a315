"""Applies a delta in windows: bounded memory, checked at both ends, goes on after a cut."""

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
from phibuild_delta.spaces import File, Space, files_of, place

_LONGEST_NAME = 50


def apply_delta(
    old: Path, delta: Path, new: Path, progress: Callable[[float], None] = lambda _: None
) -> None:
    """Write `new`; PackagingError PHI703 for other old bytes or a damaged delta. Until all is
    checked the result lies at `partial_path`, and the next run goes on with it: each window is
    read, and written if its bytes are not right.

    What exists at `new` is never replaced: PackagingError PHI703 unless it is already the result.
    Memory: about 16 times the delta's window for each of at most eight cores.
    """
    with _opened(delta) as file:
        header = read_header(file)
        old_files, new_files = read_files(file, header)
        if old.is_dir() != (header.kind == TREE) or _named(files_of(old)) != _named(old_files):
            raise _another(old)
        if os.path.lexists(new):
            _check_made(new, new_files, header.new_sha256)
            return
        with Space(old, old_files) as before:
            if before.sha256() != header.old_sha256:
                raise _another(old)
            part = partial_path(new, delta)
            _make_room(part, new_files, is_tree=header.kind == TREE)
            with Space(part, new_files, writable=True) as after:
                pieces = _pieces(read_records(file, header), new_files, header.window)
                made = 0
                for size in in_order(lambda one: _make(one, before, after), pieces):
                    made += size
                    progress(made / header.new_size)
                after.settle()
                if after.sha256() != header.new_sha256:
                    raise damaged("the result does not come out as it should")
    if header.kind == TREE:
        for folder in [part, *(one for one in part.rglob("*") if one.is_dir())]:
            _sync(folder)
    if os.path.lexists(new):  # somebody else was quicker
        raise _in_the_way(new)
    part.replace(new)
    _sync(new.absolute().parent)


def partial_path(new: Path, delta: Path) -> Path:
    """Where the unfinished result lies: beside `new`, under a name that holds a digest of the
    delta's header, so that it is nobody else's."""
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


class _Piece(NamedTuple):
    offset: int
    record: Record
    window: int


def _pieces(records: Iterator[Record], files: Sequence[File], window: int) -> Iterator[_Piece]:
    offset = 0
    for record in records:
        file = place(files, offset)
        if file is None or offset + record.size > file.end:
            raise damaged("one of its records crosses from file to file")
        yield _Piece(offset, record, window)
        offset += record.size


def _make(piece: _Piece, before: Space, after: Space) -> int:
    """See to it that a window is there; how many bytes it has."""
    offset, record, window = piece
    there = after.read(offset, record.size)
    if hashlib.sha256(there).digest() == record.sha256 and len(there) == record.size:
        return record.size
    content = _window(record, before, window)
    if hashlib.sha256(content).digest() != record.sha256 or len(content) != record.size:
        raise damaged("a window does not come out as it should")
    after.write(offset, content)
    return record.size


def _window(record: Record, before: Space, window: int) -> bytes:
    if record.kind == RAW:
        return record.packed
    old = before.read(record.old_offset, record.old_size) if record.old_size else b""
    if len(old) != record.old_size:
        raise damaged("one of its records takes old bytes of more than one file")
    if record.kind == COPY:
        return old
    if record.kind == DIFFERENCES:
        try:
            return add(decompressed(record.packed, window), old, record.fields)
        except ValueError as error:
            raise damaged(str(error)) from None
    return decompressed(record.packed, record.size, old if record.kind == WITH_OLD else b"")


def _named(files: Sequence[File]) -> list[tuple[str, int]]:
    return [(one.path, one.size) for one in files]


def _make_room(part: Path, files: Sequence[File], *, is_tree: bool) -> None:
    """Leave of an earlier run what has a place in this one."""
    if part.is_dir() != is_tree or part.is_symlink():
        _remove(part)
    if not is_tree:
        return
    part.mkdir(exist_ok=True)
    wanted = {part / one.path for one in files}
    folders = {folder for path in wanted for folder in path.parents}
    for path in sorted(part.rglob("*"), reverse=True):
        is_file = path in wanted and path.is_file()
        is_folder = path in folders and path.is_dir()
        if path.is_symlink() or not (is_file or is_folder):
            _remove(path)
    for path in wanted:
        path.parent.mkdir(parents=True, exist_ok=True)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _check_made(new: Path, files: Sequence[File], sha256: bytes) -> None:
    """A run that was cut off after its last step has nothing left to do."""
    with contextlib.suppress(PackagingError):  # what it holds is not what a delta makes
        if files_of(new) == tuple(files):
            with Space(new, files) as there:
                if there.sha256() == sha256:
                    return
    raise _in_the_way(new)


def _in_the_way(new: Path) -> PackagingError:
    return PackagingError(
        f"{new} is there already, and is not what the delta makes",
        hint="write to a path that does not exist: -o NEW",
        code="PHI703",
    )


def _another(old: Path) -> PackagingError:
    return PackagingError(
        f"{old} is not what the delta was made from",
        hint="apply it to what `phibuild delta make` had as OLD",
        code="PHI703",
    )


def _sync(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
