"""Removes toolchains: only those that phibuild installed, and never through a link."""

from __future__ import annotations

import enum
import os
import shutil
from pathlib import Path


class Removal(enum.Enum):
    """How a removal ended."""

    ABSENT = "was not installed"
    REMOVED = "is removed"
    PARTLY = "is removed, except for files that phibuild did not make"
    LINK_REMOVED = "was a link: the link is removed, and what it leads to is untouched"
    NOT_OWN = "is not removed: phibuild did not make it"
    ELSEWHERE = "is not removed: it lies in another store, which this store links to"


def remove_link(folder: Path) -> Removal | None:
    """Handle a toolchain's folder that does not exist or is a link; None for any other."""
    if not os.path.lexists(folder):
        return Removal.ABSENT
    if folder.parent.is_symlink():
        return Removal.ELSEWHERE
    if folder.is_symlink():
        folder.unlink()
        return Removal.LINK_REMOVED
    return None


def remove_owned(folder: Path, *, is_own: bool) -> Removal:
    """Remove a toolchain's folder, if phibuild installed it and no link leads to it."""
    ended = remove_link(folder)
    if ended is not None:
        return ended
    if not is_own or not folder.is_dir():
        return Removal.NOT_OWN
    shutil.rmtree(folder)
    return Removal.REMOVED


def is_within(folder: Path, root: Path) -> bool:
    """Whether a folder lies below a root without a link at or below it."""
    return not root.is_symlink() and folder.resolve() == root.resolve() / folder.relative_to(root)
