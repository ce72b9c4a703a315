"""Tensors of earlier artifacts, copied into a new file.

A piece counts only if its bytes have the recorded digest.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from operator import itemgetter
from pathlib import Path

from phiworker import Piece

_CHUNK = 1 << 20
_PAGE = 4096  # what file systems share between files


def digest_of(path: Path, offset: int, size: int) -> str:
    """The sha256 of a range of a file, or of less if the file ends there, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        buffer = memoryview(bytearray(min(size, _CHUNK)))
        while size > 0 and (got := file.readinto(buffer[: min(size, _CHUNK)])):
            digest.update(buffer[:got])
            size -= got
    return digest.hexdigest()


def intact(pieces: Mapping[str, Piece], *, threads: int) -> set[str]:
    """The keys of the pieces whose bytes have the recorded digest."""

    def is_intact(key: str) -> bool:
        piece = pieces[key]
        try:
            return digest_of(piece.path, piece.offset, piece.size) == piece.sha256
        except OSError:
            return False

    with ThreadPoolExecutor(threads) as pool:
        verdicts = dict(zip(pieces, pool.map(is_intact, pieces), strict=True))
    return {key for key, good in verdicts.items() if good}


def copy_into(
    output: Path, pieces: Iterable[tuple[Piece, int]], *, on_copied: Callable[[int], None]
) -> None:
    """Copy each piece to its offset, damaged or not; `on_copied` is called with numbers of bytes.
    Adjacent pieces are copied together, and whole pages are shared if the file system can do it."""
    with output.open("r+b", buffering=0) as target:
        for path, source, place, size in _runs(pieces):
            with contextlib.suppress(FileNotFoundError), path.open("rb", buffering=0) as file:
                for begin, end in _pages(source, place, size):
                    _copy(
                        file.fileno(), source + begin, target.fileno(), place + begin, end - begin
                    )
                    on_copied(end - begin)


def _runs(pieces: Iterable[tuple[Piece, int]]) -> Iterator[tuple[Path, int, int, int]]:
    """Path, offset there, offset here and size; pieces adjacent in both files are merged."""
    path, source, place, size = None, 0, 0, 0
    for piece, offset in sorted(pieces, key=itemgetter(1)):
        if (piece.path, piece.offset, offset) == (path, source + size, place + size):
            size += piece.size
            continue
        if path is not None:
            yield path, source, place, size
        path, source, place, size = piece.path, piece.offset, offset, piece.size
    if path is not None:
        yield path, source, place, size


def _pages(source: int, place: int, size: int) -> Iterator[tuple[int, int]]:
    """The range in up to three parts: pages that are aligned in both files, and the ends."""
    first = -source % _PAGE if (source - place) % _PAGE == 0 else 0
    last = first + (size - first) // _PAGE * _PAGE
    cuts = sorted({0, min(first, size), max(min(first, size), last), size})
    yield from itertools.pairwise(cuts)


def _copy(source: int, offset: int, target: int, place: int, size: int) -> None:
    copy_range = getattr(os, "copy_file_range", None)  # Linux has it
    while size > 0:
        copied = 0
        if copy_range is not None:
            try:
                copied = copy_range(source, target, size, offset, place)
            except OSError:
                copy_range = None
        if copied == 0:
            content = os.pread(source, min(size, _CHUNK), offset)
            copied = os.pwrite(target, content, place)
            if copied == 0:
                return  # the file ends early: the piece is damaged
        offset, place, size = offset + copied, place + copied, size - copied
