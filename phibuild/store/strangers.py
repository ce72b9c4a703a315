"""Finds the files at a path that are not of a known tree: they are the user's, and never
removed."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from typing import NamedTuple

from phibuild.model.tree import THE_FILE, Tree

FILE, FOLDER, EMPTY_FOLDER, LINK, SPECIAL = "file", "folder", "empty folder", "link", "special file"


class Stranger(NamedTuple):
    """Something that phibuild did not put there: its path inside the target (THE_FILE for the
    target itself), and its kind."""

    path: str
    kind: str


def kind_of(path: str) -> str | None:
    """The kind of file at a path, a link not followed; None if nothing is there. NotADirectoryError
    if a parent is a file."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(mode):
        return LINK
    if stat.S_ISREG(mode):
        return FILE
    return FOLDER if stat.S_ISDIR(mode) else SPECIAL


def strangers(target: str, known: Tree | None) -> Iterator[Stranger]:
    """What lies at `target` beside the files of `known` and their folders, unsorted. A folder of
    the user's with files in it is one stranger; an empty one at `target` may be replaced."""
    kind = kind_of(target)
    if kind is None or (kind == FILE and known is not None and known.is_file):
        return
    if kind != FOLDER:
        yield Stranger(THE_FILE, kind)
        return
    if known is None or known.is_file:
        if not _is_empty(target):
            yield Stranger(THE_FILE, FOLDER)
        return
    files = {entry.path for entry in known.entries}
    yield from _inside(target, "", files, folders_of(files))


def _inside(
    folder: str, prefix: str, files: Collection[str], folders: Collection[str]
) -> Iterator[Stranger]:
    with os.scandir(folder) as entries:
        for entry in entries:
            path = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                if path in folders:
                    yield from _inside(entry.path, f"{path}/", files, folders)
                else:
                    yield Stranger(path, EMPTY_FOLDER if _is_empty(entry.path) else FOLDER)
            elif path not in files or not entry.is_file(follow_symlinks=False):
                yield Stranger(path, kind_of(entry.path) or FILE)


def folders_of(files: Collection[str]) -> set[str]:
    """The folders that files with these paths lie in."""
    return {
        path[:position]
        for path in files
        for position, character in enumerate(path)
        if character == "/"
    }


def remove_known(place: str, files: Collection[str]) -> bool:
    """Remove the regular files with these paths inside `place` and the folders that are then
    empty; whether nothing is left. Links are neither followed nor removed."""
    kind = kind_of(place)
    if kind == FILE and THE_FILE in files:
        os.unlink(place)  # noqa: PTH108 - paths are strings here
        return True
    return kind is None or (kind == FOLDER and _empty(place, "", files, folders_of(files)))


def _empty(folder: str, prefix: str, files: Collection[str], folders: Collection[str]) -> bool:
    is_empty = True
    with os.scandir(folder) as entries:
        inside = list(entries)
    for entry in inside:
        path = prefix + entry.name
        if entry.is_dir(follow_symlinks=False):
            is_gone = path in folders and _empty(entry.path, f"{path}/", files, folders)
        elif is_gone := path in files and entry.is_file(follow_symlinks=False):
            os.unlink(entry.path)  # noqa: PTH108
        is_empty = is_empty and is_gone
    if is_empty:
        os.rmdir(folder)  # noqa: PTH106
    return is_empty


def carry_over(old: str, new: str, files: Collection[str]) -> None:
    """Move what lies in the folder `old`, except these files and their folders, to the same place
    in `new`, if that is free."""
    for stranger in list(_inside(old, "", files, folders_of(files))):
        place = f"{new}/{stranger.path}"
        if kind_of(place) is None:
            os.makedirs(os.path.dirname(place), exist_ok=True)  # noqa: PTH103, PTH120
            os.rename(f"{old}/{stranger.path}", place)  # noqa: PTH104


def _is_empty(folder: str) -> bool:
    with os.scandir(folder) as entries:
        return next(entries, None) is None
