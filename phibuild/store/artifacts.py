"""Artifacts at users' paths: placed over phibuild's own files, and recognized there again."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from phibuild.model.errors import StoreError
from phibuild.model.tree import THE_FILE, Entry, Tree
from phibuild.store.index import hash_file
from phibuild.store.placements import (
    KnownFiles,
    Placement,
    intend,
    is_gone,
    is_left,
    is_same_file,
    known_files,
    place_of,
    placements,
    remember,
    signature_of,
)
from phibuild.store.store import Store
from phibuild.store.strangers import (
    FILE,
    FOLDER,
    LINK,
    Stranger,
    folders_of,
    kind_of,
    remove_known,
    strangers,
)

if TYPE_CHECKING:
    from phibuild.store.place import Beside

_NAMED = 5
"""The number of names that an error lists."""


class Replacement(NamedTuple):
    """The fate of the files at the target: those of the artifact that were `changed`, by their
    paths inside it, and the new paths of `kept` files that are not phibuild's."""

    changed: tuple[str, ...] = ()
    kept: tuple[Path, ...] = ()


def place_artifact(
    store: Store,
    tree: Tree,
    target: Path,
    *,
    known: Tree | None,
    keeps_others: bool = False,
    finish: Callable[[Beside], Sequence[Path]] = lambda room: (),
) -> Replacement:
    """Put an artifact at a path in one step. Files of the tree `known` are replaced; with
    `keeps_others`, other files in that folder stay. `finish` is called then, and returns what it
    kept.

    StoreError PHI302 if an object is gone or damaged, PHI304 if something else is at the path.
    """
    from phibuild.renaming import KEPT, rename_beside  # null builds place nothing
    from phibuild.store.place import beside, carry_others

    kept: list[Path] = []
    changed: tuple[str, ...] = ()
    old_paths = () if known is None else tuple(entry.path for entry in known.entries)
    new_paths = (entry.path for entry in tree.entries)
    with beside(target, {*old_paths, *new_paths}, on_kept=kept.append) as room:
        reused = _Reused(target, known_files(store.index, str(target)))
        store.copy_tree(tree, room.new, reuse=reused.create)
        refuse(target, in_the_way(target, known, keeps_others=keeps_others, new=tree))
        intend(store.index, tree, str(target), built=str(room.new))
        try:
            old = room.swap(target)
        except FileExistsError:
            refuse(target, in_the_way(target, known, keeps_others=keeps_others, new=tree))
            raise
        if old is not None:
            if known is not None:
                before = placements(store.index, str(target))[1:]
                changed = tuple(_changed(store, known, str(old), before))
                if keeps_others:
                    carry_others(old, target, known)
            if not remove_known(str(old), old_paths):
                kept.append(rename_beside(old, target, KEPT))
        if reused.are_unchanged():  # else the next build reads them
            if reused.touch():
                intend(store.index, tree, str(target), built=str(target))  # with the new times
            remember(store.index, tree, str(target), is_ours=True)
        kept += finish(room)
    return Replacement(changed, tuple(kept))


class _Reused:
    """The files of the artifact at `target` that the next one has too: they are linked into it
    before the old one is removed, so that an edited template does not copy gigabytes."""

    def __init__(self, target: Path, known: KnownFiles) -> None:
        self._target = str(target)
        self._known = known
        self._files: dict[str, str] = {}

    def create(self, entry: Entry, path: Path) -> bool:
        """Create a file of the next artifact, if the old one has it and it has no other links."""
        old = place_of(self._target, entry)
        try:
            if not self._known.holds(entry, old) or os.lstat(old).st_nlink > 1:
                return False
            path.hardlink_to(old)
        except OSError:
            return False
        self._files[old] = signature_of(old)
        return True

    def are_unchanged(self) -> bool:
        """Whether the files are unchanged; called when they are in their place."""
        return all(is_same_file(path, signature) for path, signature in self._files.items())

    def touch(self) -> bool:
        """Give them the current time, as other build tools compare times; whether there are any."""
        for path in self._files:
            os.utime(path)
        return bool(self._files)


def in_the_way(
    target: Path, known: Tree | None, *, keeps_others: bool, new: Tree | None = None
) -> list[Stranger]:
    """The files at a path that are not of the tree `known` and cannot stay beside the artifact;
    `new` is the artifact if it is known already."""
    others = sorted(strangers(str(target), known))
    if not keeps_others:
        return others
    files = {entry.path for entry in new.entries} if new is not None else set()
    needed = {THE_FILE} | files | folders_of(files)
    return [other for other in others if other.path in needed]


def refuse(target: Path, others: Sequence[Stranger]) -> None:
    """StoreError PHI304 if there is anything in the way."""
    if not others:
        return
    kind = others[0].kind
    if others[0].path != THE_FILE:
        problem = f"{target} holds files that phibuild did not build: {_listed(others)}"
    elif kind == LINK:
        problem = (
            f"{target} is a link to {shown(str(target.readlink()))}, and phibuild creates no links"
        )
    elif kind == FOLDER:
        inside = sorted(strangers(str(target), Tree(())))
        problem = f"{target} is a folder that phibuild did not build; it holds {_listed(inside)}"
    else:
        problem = f"{target} is a {kind} that phibuild did not build"
    raise StoreError(
        problem, hint="move it to another place, or give the target another path", code="PHI304"
    )


def _listed(others: Sequence[Stranger]) -> str:
    names = ", ".join(map(_described, others[:_NAMED]))
    return names + (f" and {len(others) - _NAMED} more" if len(others) > _NAMED else "")


def lies_at(store: Store, tree: Tree, target: str) -> bool:
    """Whether this path holds the tree's files; others may lie beside them. Reads a file only if
    its stat is not known. Each null build looks at every file, so that paths are strings here."""
    known = known_files(store.index, target)
    is_known = True
    try:
        for entry in tree.entries:
            path = place_of(target, entry)
            if not known.holds(entry, path):
                is_known = False
                if not _holds(store, entry, path):
                    return False
    except OSError:
        return False
    if not is_known:
        remember(store.index, tree, target, is_ours=False)
    return True


def placed_tree(store: Store, target: str, *, may_be_gone: bool = False) -> Tree | None:
    """The tree that phibuild placed at a path, if the files that are left of it are unchanged. With
    `may_be_gone`, no file need be left."""
    for each in placements(store.index, target):
        if each.is_ours and (is_left(each, target) or (may_be_gone and is_gone(each, target))):
            return each.tree
    return None


def shown(name: str) -> str:
    """A name as an error shows it: in quotes where it could be misread."""
    return name if name.isprintable() and not set(name) & set(" ,") else repr(name)


def _described(other: Stranger) -> str:
    name = shown(other.path)
    return name if other.kind == FILE else f"{name} ({other.kind})"


def _changed(store: Store, known: Tree, old: str, before: Sequence[Placement]) -> Iterator[str]:
    """The files of a replaced artifact that were changed."""
    signatures = {entry: signature for placement in before for entry, signature in placement.files}
    for entry in known.entries:
        path = place_of(old, entry)
        with contextlib.suppress(OSError):
            if (
                kind_of(path) == FILE
                and not is_same_file(path, signatures.get(entry, ""))
                and not store.is_object_at(entry, path)
                and hash_file(Path(path)) != entry.digest
            ):
                yield entry.path


def _holds(store: Store, entry: Entry, path: str) -> bool:
    if kind_of(path) != FILE:
        return False
    if store.is_object_at(entry, path):
        return True
    place = Path(path)
    stat = place.stat()
    if stat.st_size != entry.size or bool(stat.st_mode & 0o100) != entry.executable:
        return False
    return store.index.digest_of(place) == entry.digest
