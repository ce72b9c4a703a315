"""Reads everything in the store again and compares it with its name.

A build trusts an object with its original size, time and inode. Verification finds changes that
these do not show.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from phibuild.store.index import ObjectRange, hash_file
from phibuild.store.store import Store
from phibuild.store.survey import Survey, survey

_BLOCK = 1 << 20


class Fault(NamedTuple):
    """A damaged file of the store. If `pieces` are given, only the pieces with these keys are
    wrong."""

    path: Path
    problem: str
    pieces: tuple[str, ...] = ()


def verify(store: Store, on_read: Callable[[int], object] = lambda size: None) -> list[Fault]:
    """Read all objects, the pieces in them and all results; `on_read` gets the bytes of each object
    when it was read. Objects that a collection removes at the same time are not faults."""
    content = survey(store)
    faults = [Fault(path, "is damaged, or does not belong here") for path in content.damage]
    faults += _results(store, content)

    def check(name: str) -> list[Fault]:
        with suppress(FileNotFoundError):
            return list(_object(store.object_named(name), store.index.pieces_of(name)))
        return []

    names = sorted(content.objects)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for name, some in zip(names, threads.map(check, names), strict=True):
            faults += some
            on_read(content.objects[name])
    return faults


def repair(store: Store, faults: list[Fault]) -> None:
    """Remove what is wrong; the next build that needs it builds it again."""
    for fault in faults:
        if fault.pieces:
            store.index.forget_pieces(fault.pieces)
        else:
            store.discard(fault.path)
            store.index.forget_object(fault.path.name)
    # Results whose objects are gone now are misses, and would be listed again.
    for fault in _results(store, survey(store)):
        store.discard(fault.path)


def _results(store: Store, content: Survey) -> Iterator[Fault]:
    for key, held in content.results.items():
        missing = [name for name in held.objects if name not in content.objects]
        if missing and not all(store.object_named(name).is_file() for name in missing):
            problem = f"refers to objects that are gone: {', '.join(missing[:3])}"
            yield Fault(store.root / "results" / key, problem)


def _object(path: Path, pieces: dict[str, ObjectRange]) -> Iterator[Fault]:
    try:
        if hash_file(path).hex != path.name.removesuffix(".x"):
            yield Fault(path, "does not have the digest in its name")
            return
    except PermissionError:
        yield Fault(path, "cannot be read")
        return
    wrong = tuple(key for key, piece in pieces.items() if not _is_right(path, piece))
    if wrong:
        yield Fault(path, f"has {len(wrong)} pieces that do not match their digests", wrong)


def _is_right(path: Path, piece: ObjectRange) -> bool:
    digest = hashlib.sha256()
    left = piece.size
    with path.open("rb") as stream:
        stream.seek(piece.offset)
        while left > 0 and (block := stream.read(min(left, _BLOCK))):
            digest.update(block)
            left -= len(block)
    return left == 0 and digest.hexdigest() == piece.sha256
