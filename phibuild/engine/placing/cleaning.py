"""Cleaning: which files of an artifact phibuild may remove, and what stays.

The manifest beside an artifact names what phibuild built. Nothing else is removed: no file that the
user added, nothing behind a link, and nothing at all without a manifest of this artifact.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from phibuild.model.manifest import SUFFIX, Manifest
from phibuild.model.tree import THE_FILE, Tree


def built_files(target: Path, manifest: Manifest | None) -> list[Path]:
    """The files that cleaning removes: those that the manifest names, then the manifest. Empty if
    the manifest belongs to another artifact or its path is a link now."""
    if manifest is None or manifest.artifact != target.name:
        return []
    if target.is_symlink() or Path(f"{target}{SUFFIX}").is_symlink():
        return []
    return [
        *named_files(target, manifest.tree),
        Path(f"{target}{SUFFIX}"),
    ]


def remove_empty_folders(target: Path, tree: Tree) -> list[Path]:
    """Remove the folders of an artifact that became empty, and return what is left in the others:
    files and folders that phibuild did not create."""
    if tree.is_file:
        return [target] if os.path.lexists(target) else []
    if target.is_symlink() or not target.is_dir():
        return [target] if os.path.lexists(target) else []
    folders = {target, *(folder for folder, _ in _folders(target, tree))}
    for folder in sorted(folders, reverse=True):  # what lies in a folder sorts behind it
        if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
            folder.rmdir()
    return sorted(_rest(target)) if target.exists() else []


def named_files(target: Path, tree: Tree) -> Iterator[Path]:
    """The files of a tree that are in place, and are reached without a link."""
    links = {folder for folder, is_link in _folders(target, tree) if is_link}
    for entry in tree.entries:
        path = target if entry.path == THE_FILE else target / entry.path
        if links.isdisjoint(path.parents) and _is_file(path):
            yield path


def _folders(target: Path, tree: Tree) -> Iterator[tuple[Path, bool]]:
    """The folders inside that a tree has, and whether they are links on the disk."""
    inside = {folder for entry in tree.entries for folder in PurePosixPath(entry.path).parents}
    for folder in inside - {PurePosixPath(".")}:
        yield target / folder, (target / folder).is_symlink()


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _rest(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False) and any(Path(entry.path).iterdir()):
                yield from _rest(Path(entry.path))
            else:
                yield Path(entry.path)
