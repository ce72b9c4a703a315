"""Tensors that were made before, copied from where they lie into the file that is written.

A piece is believed only after its bytes had the digest that it was recorded with. Standard library
only; a part of the writing worker.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from phiworker import Piece

_CHUNK = 1 << 20
_PAGE = 4096  # what file systems share between files


def digest_of(path: Path, offset: int, size: int) -> str:
    """The sha256 of a range of a file, in hexadecimal; of less if the file ends before."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        buffer = memoryview(bytearray(min(size, _CHUNK)))
        while size > 0 and (got := file.readinto(buffer[: min(size, _CHUNK)])):
            digest.update(buffer[:got])
            size -= got
    return digest.hexdigest()


def sound(pieces: Mapping[str, Piece], *, threads: int) -> set[str]:
    """The keys of those pieces whose bytes are what they should be."""

    def is_sound(key: str) -> bool:
        piece = pieces[key]
        try:
            return digest_of(piece.path, piece.offset, piece.size) == piece.sha256
        except OSError:
            return False

    with ThreadPoolExecutor(threads) as pool:
        verdicts = dict(zip(pieces, pool.map(is_sound, pieces), strict=True))
    return {key for key, good in verdicts.items() if good}


def copy_into(
    output: Path, pieces: Iterable[tuple[Piece, int]], *, on_copied: Callable[[int], None]
) -> None:
    """Copy each piece to its offset, whether it is sound or not; `on_copied` is told bytes.
    Neighbours go together, and a file system that can share whole pages between files is asked to.
    """
    with output.open("r+b", buffering=0) as target:
        for path, source, place, size in _runs(pieces):
            with contextlib.suppress(FileNotFoundError), path.open("rb", buffering=0) as file:
                for begin, end in _pages(source, place, size):
                    _copy(
                        file.fileno(), source + begin, target.fileno(), place + begin, end - begin
                    )
                    on_copied(end - begin)


def _runs(pieces: Iterable[tuple[Piece, int]]) -> Iterator[tuple[Path, int, int, int]]:
    """Path, offset there, offset here and size; neighbours in both files are one."""
    path, source, place, size = None, 0, 0, 0
    for piece, offset in sorted(pieces, key=lambda one: one[1]):
        if (piece.path, piece.offset, offset) == (path, source + size, place + size):
            size += piece.size
            continue
        if path is not None:
            yield path, source, place, size
        path, source, place, size = piece.path, piece.offset, offset, piece.size
    if path is not None:
        yield path, source, place, size


def _pages(source: int, place: int, size: int) -> Iterator[tuple[int, int]]:
    """The range in up to three: whole pages, if they are such in both files, and what is around."""
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
                return  # the file ends early, which makes the piece unsound
        offset, place, size = offset + copied, place + copied, size - copied
