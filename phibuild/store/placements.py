"""The files that phibuild put at a user's path, by stat: a null build then reads none of them, and
an artifact is recognized as phibuild's own without its manifest.

While an artifact is replaced, both placements are remembered: a killed build may leave either.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from phibuild.model.digest import Digest
from phibuild.model.parsing import parse_json
from phibuild.model.tree import THE_FILE, Entry, Tree
from phibuild.store.index import Index, settle


class Placement(NamedTuple):
    """Files at a path: entry and signature (`signature_of`) of each. Not `is_ours` if they were
    only seen there."""

    files: tuple[tuple[Entry, str], ...]
    is_ours: bool

    @property
    def tree(self) -> Tree:
        """The files as a tree."""
        return Tree(tuple(entry for entry, _ in self.files))


class KnownFiles(NamedTuple):
    """The last placement, by path inside, in a form that is quick to compare."""

    rows: dict[str, tuple[str, bool, str]]

    def holds(self, entry: Entry, place: str) -> bool:
        """Whether this is the file that was placed, unchanged. OSError if it is not there."""
        row = self.rows.get(entry.path)
        return row == (entry.digest.hex, entry.executable, signature_of(place))


def signature_of(place: str) -> str:
    """What stays the same while a file is unchanged; links are not followed. The last number is the
    ctime, which a rename changes."""
    stat = os.lstat(place)
    return f"{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ino}:{stat.st_mode}:{stat.st_ctime_ns}"


def place_of(target: str, entry: Entry) -> str:
    """The path of an entry of the tree at `target`."""
    return target if entry.path == THE_FILE else f"{target}/{entry.path}"


def is_same_file(place: str, signature: str) -> bool:
    """Whether this is the file with that signature, which may have been renamed since."""
    try:
        return signature_of(place).rpartition(":")[0] == signature.rpartition(":")[0]
    except OSError:
        return False


def known_files(index: Index, target: str) -> KnownFiles:
    """The known files at a path; none if nothing was placed there."""
    text = index.placements(target)
    if not text:
        return KnownFiles({})
    try:
        newest = parse_json(text)[0]["files"]
        return KnownFiles({row[0]: (row[1], row[3], row[4]) for row in newest})
    except (ValueError, LookupError, TypeError):  # damage
        return KnownFiles({})


def placements(index: Index, target: str) -> list[Placement]:
    """The placements that may be there, the newest first."""
    text = index.placements(target)
    try:
        return [_placement(document) for document in parse_json(text)] if text else []
    except (ValueError, LookupError, TypeError):
        return []


def is_left(placement: Placement, target: str) -> bool:
    """Whether some of the placed files are still there, and all of these are unchanged."""
    paths = [(place_of(target, entry), signature) for entry, signature in placement.files]
    there = [(path, signature) for path, signature in paths if os.path.lexists(path)]
    return bool(there) and all(is_same_file(path, signature) for path, signature in there)


def is_gone(placement: Placement, target: str) -> bool:
    """Whether none of the placed files is there any more."""
    return not any(os.path.lexists(place_of(target, entry)) for entry, _ in placement.files)


def intend(index: Index, tree: Tree, target: str, *, built: str) -> None:
    """Remember that the files at `built` are about to get the path `target`. Their signatures hold
    for `is_same_file` only."""
    seen = [f"{signature.rpartition(':')[0]}:0" for signature in _signatures(tree, built)]
    files = tuple(zip(tree.entries, seen, strict=True))
    before = placements(index, target)
    there = [each for each in before if each.is_ours and is_left(each, target)]
    _write(index, target, [Placement(files, is_ours=True), *(there or before)[:1]])


def remember(index: Index, tree: Tree, target: str, *, is_ours: bool) -> None:
    """Remember the files at `target`, which hold the tree. Nothing is remembered if one changes at
    this moment."""
    before = placements(index, target)[:1]
    is_ours = is_ours or any(each.is_ours and each.tree == tree for each in before)
    with contextlib.suppress(OSError):
        seen = _signatures(tree, target)
        settle(max((int(signature.rpartition(":")[2]) for signature in seen), default=0))
        if _signatures(tree, target) == seen:
            files = tuple(zip(tree.entries, seen, strict=True))
            _write(index, target, [Placement(files, is_ours)])


def _signatures(tree: Tree, target: str) -> list[str]:
    return [signature_of(place_of(target, entry)) for entry in tree.entries]


def _write(index: Index, target: str, remembered: Sequence[Placement]) -> None:
    index.record_placements(
        target,
        json.dumps(
            [{"is_ours": each.is_ours, "files": list(_rows(each))} for each in remembered],
            separators=(",", ":"),
        ),
    )


def _rows(placement: Placement) -> Iterator[list[object]]:
    for entry, signature in placement.files:
        yield [entry.path, entry.digest.hex, entry.size, entry.executable, signature]


def _placement(document: dict[str, object]) -> Placement:
    rows: Any = document["files"]
    return Placement(
        tuple(
            (Entry(path, Digest(digest), size, executable), signature)
            for path, digest, size, executable, signature in rows
        ),
        bool(document["is_ours"]),
    )
