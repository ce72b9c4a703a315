"""Places: where paths lead, so that two spellings of one place are equal.

A folder is known by device and inode, whatever links, `..`, letter case or Unicode form led to it.
Everything else is known by its folder and its name. Files are not known by their inodes: equal
artifacts can be hard links of one object of the store.
"""

from __future__ import annotations

import itertools
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PlaceKey = tuple[object, object]

_MOST_LINKS = 40
_ENTRIES_TO_PROBE = 64


class Folding(NamedTuple):
    """Which differences between names a folder ignores."""

    case: bool
    forms: bool

    def of(self, name: str) -> str:
        """The same spelling for all names that mean the same entry."""
        if not (self.case or self.forms):
            return name
        import unicodedata  # few file systems fold names

        if self.case:
            name = unicodedata.normalize("NFD", name).casefold()
        return unicodedata.normalize("NFC", name)


class Place:
    """`path` holds no link above its last name. `keys` begins with the key that names inside use;
    a folder also has the key that it would have if it did not exist. A place is frozen and equal
    only to itself: comparing by content would walk all the folders above."""

    __slots__ = ("above", "is_folder", "is_link", "is_mount", "keys", "path")

    def __init__(
        self,
        path: str,
        keys: tuple[PlaceKey, ...],
        above: Place | None,
        *,
        is_folder: bool = False,
        is_link: bool = False,
        is_mount: bool = False,
    ) -> None:
        self.path, self.keys, self.above = path, keys, above
        self.is_folder, self.is_link, self.is_mount = is_folder, is_link, is_mount

    def around(self) -> Iterator[Place]:
        """The folders that the place lies in, innermost first."""
        place = self.above
        while place is not None:
            yield place
            place = place.above


class Places:
    """Finds places and remembers folders: a path in a known folder costs one system call."""

    def __init__(self) -> None:
        self._followed: dict[str, Place] = {}
        self._foldings: dict[PlaceKey, Folding] = {}

    def of(self, path: str) -> tuple[Place, ...]:
        """The place of an absolute path; if that is a link, also the places that it leads to."""
        places = [self._named(path)]
        while places[-1].is_link and len(places) < _MOST_LINKS:
            places.append(self._named(_target_of(places[-1])))
        return tuple(places)

    def _named(self, path: str) -> Place:
        """The place of a name, which may be a link."""
        folder, name = os.path.split(path)
        if name in ("", ".", ".."):
            return self._follow(path)
        return self._entry(self._follow(folder), name)

    def _follow(self, path: str, links: int = 0) -> Place:
        known = self._followed.get(path)
        if known is not None:
            return known
        folder, name = os.path.split(path)
        if folder == path:
            known = self._root(path)
        elif name in ("", "."):
            known = self._follow(folder, links)
        elif name == "..":
            inside = self._follow(folder, links)
            known = inside.above or inside
        else:
            known = self._entry(self._follow(folder, links), name)
            if known.is_link and links < _MOST_LINKS:
                known = self._follow(_target_of(known), links + 1)
        self._followed[path] = known
        return known

    def _root(self, path: str) -> Place:
        status = Path(path).stat()
        return Place(path, ((status.st_dev, status.st_ino),), None, is_folder=True)

    def _entry(self, folder: Place, name: str) -> Place:
        path = f"{folder.path.rstrip(os.sep)}/{name}"
        key = (folder.keys[0], self._folding(folder).of(name))
        try:
            status = os.lstat(path)
        except (OSError, ValueError):
            return Place(path, (key,), folder)
        if not stat.S_ISDIR(status.st_mode):
            return Place(path, (key,), folder, is_link=stat.S_ISLNK(status.st_mode))
        identity = (status.st_dev, status.st_ino)
        is_mount = folder.is_folder and folder.keys[0][0] != status.st_dev
        return Place(path, (identity, key), folder, is_folder=True, is_mount=is_mount)

    def _folding(self, folder: Place) -> Folding:
        """That of the folder; one that is empty or does not exist has that of its own folder."""
        known = self._foldings.get(folder.keys[0])
        if known is None:
            known = _probed(folder.path) if folder.is_folder else None
            if known is None:
                above = folder.above
                known = self._folding(above) if above is not None else _USUAL
            self._foldings[folder.keys[0]] = known
        return known


def _target_of(link: Place) -> str:
    return str(Path(link.path).parent / Path(link.path).readlink())


_USUAL = Folding(case=sys.platform == "darwin", forms=sys.platform == "darwin")


def _probed(folder: str) -> Folding | None:
    """Look entries up under other spellings of their names: nothing is written. None if no entry
    has another spelling."""
    case: bool | None = None
    forms = _USUAL.forms
    try:
        with os.scandir(folder) as entries:
            for entry in itertools.islice(entries, _ENTRIES_TO_PROBE):
                swapped = entry.name.swapcase()
                if case is None and entry.name.isascii() and swapped != entry.name:
                    case = _is_same_entry(folder, entry.name, swapped)
                if case is not None and not forms and not entry.name.isascii():
                    import unicodedata

                    forms = any(
                        other != entry.name and _is_same_entry(folder, entry.name, other)
                        for form in ("NFC", "NFD")
                        for other in [unicodedata.normalize(form, entry.name)]
                    )
                if case is not None and entry.name.isascii():
                    break
    except OSError:
        return None
    return None if case is None else Folding(case, forms)


def _is_same_entry(folder: str, name: str, other: str) -> bool:
    """Whether two names mean the same entry, and are not two links to one file."""
    try:
        first, second = os.lstat(f"{folder}/{name}"), os.lstat(f"{folder}/{other}")
        return os.path.samestat(first, second) and Path(folder, other) not in Path(folder).iterdir()
    except OSError:
        return False
