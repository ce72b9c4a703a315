"""The user's files that an action reads: as they were when the key was made, as a worker is shown
them, and whether they changed while it ran."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from phibuild.engine.workshop import Workshop
from phibuild.model.digest import Digest, digest_of_value
from phibuild.model.errors import SourceError
from phibuild.model.tree import THE_FILE, Entry, Tree
from phibuild.store import place_of

SKIPPED_FOLDERS = frozenset({".git", "build", "__pycache__"})
"""Folders in a user's folder that are not a part of it, for digests and for workers."""


class UserInput(NamedTuple):
    """A file or folder of the user's. `signatures` are those of the tree's files, taken before the
    bytes were read."""

    path: Path
    tree: Tree
    signatures: tuple[str, ...]

    @property
    def name_suffix(self) -> str:
        """What a worker sees of the file's name; nothing of a folder's."""
        return self.path.suffix if self.tree.is_file else ""

    @property
    def digest(self) -> Digest:
        """Of all that a worker can see."""
        return digest_of_input(self.tree, name_suffix=self.name_suffix)


def digest_of_input(tree: Tree, *, name_suffix: str = "") -> Digest:
    """The digest of all that a worker can see of an input. For a file that is its bytes, whether it
    is executable, and the suffix of its name, where it has one."""
    if not tree.is_file or not (name_suffix or tree.entries[0].executable):
        return tree.digest
    return digest_of_value([str(tree.digest), name_suffix, tree.entries[0].executable])


def read_input(shop: Workshop, path: Path) -> UserInput:
    """A file or folder as it is now; the bytes of an artifact that is as its manifest says are not
    read. SourceError PHI101 if it is not there, PHI106 if it disappears while it is read."""
    manifest = shop.manifest_in_place(path)
    try:
        if manifest is not None:
            paths = [place_of(str(path), entry) for entry in manifest.tree.entries]
            signatures = tuple(shop.store.index.signature(Path(one)) for one in paths)
            return UserInput(path, manifest.tree, signatures)
        if path.is_file():
            entry, signature = _read_file(shop, path, THE_FILE)
            return UserInput(path, Tree((entry,)), (signature,))
        if not path.is_dir():
            raise SourceError(f"there is no file or folder {path}", hint="check the path")
        read = [_read_file(shop, path / name, name) for name in sorted(_names(str(path)))]
    except FileNotFoundError as error:
        raise changed_while_read(Path(error.filename or path), "phibuild") from None
    except OSError as error:
        raise SourceError(
            f"{error.filename or path} cannot be read: {error.strerror}",
            hint="change its permissions, or take it out of the input",
        ) from None
    entries, seen = [one[0] for one in read], [one[1] for one in read]
    return UserInput(path, Tree(tuple(entries)), tuple(seen))


def seen_beside_bytes(path: Path) -> list[str]:
    """What a worker sees of a file beside its bytes. One that is still to be made counts as if it
    could not be executed."""
    try:
        mode = path.stat().st_mode
    except OSError:
        mode = 0
    return [path.suffix, "executable" if _is_executable(mode) else ""]


def is_unchanged(shop: Workshop, known: UserInput) -> bool:
    """Whether the files that were read are still the same. A file with other links may get a new
    ctime when somebody links or unlinks it; if all else is kept, it is read again."""
    index = shop.store.index
    try:
        for entry, signature in zip(known.tree.entries, known.signatures, strict=True):
            path = Path(place_of(str(known.path), entry))
            if index.signature(path) == signature:
                continue
            found = path.stat()
            if (
                found.st_nlink == 1
                or not signature.startswith(f"{index.signature(path, 'seal')}:")
                or _is_executable(found.st_mode) != entry.executable
                or index.digest_of(path) != entry.digest
            ):
                return False
    except OSError:
        return False
    return True


def show_input(known: UserInput, place: Path) -> Path:
    """Lay out links to exactly the files that the digest was taken of. The path that stands for the
    input is returned: a file keeps the suffix of its name."""
    if known.tree.is_file:
        shown = place.with_name(f"{place.name}{known.name_suffix}")
        shown.symlink_to(known.path.resolve())
        return shown
    place.mkdir()
    source = known.path.resolve()
    for entry in known.tree.entries:
        shown = place / entry.path
        shown.parent.mkdir(parents=True, exist_ok=True)
        shown.symlink_to(source / entry.path)
    return place


def changed_while_read(path: Path, reader: str) -> SourceError:
    """The error for a file that was not the same all the time while it was read."""
    return SourceError(
        f"{path} changed while {reader} was reading it",
        hint="build again when the files are complete",
        code="PHI106",
    )


def _read_file(shop: Workshop, path: Path, name: str) -> tuple[Entry, str]:
    signature = shop.store.index.signature(path)
    found = path.stat()
    digest = shop.store.index.digest_of(path)
    return Entry(name, digest, found.st_size, _is_executable(found.st_mode)), signature


def _is_executable(mode: int) -> bool:
    return stat.S_ISREG(mode) and bool(mode & stat.S_IXUSR)


def _names(folder: str, prefix: str = "") -> Iterator[str]:
    """The paths of the regular files inside, in no order. Links to files count as files; links to
    folders are left out, since they may lead around in a circle."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in SKIPPED_FOLDERS:
                    yield from _names(entry.path, f"{prefix}{entry.name}/")
            elif entry.is_file():
                yield prefix + entry.name
