"""Making room in a store for what belongs there: anything else at its path gets another name."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

MARK = ".aside-"


def move_aside(path: Path) -> Path | None:
    """Give what lies at a path a free name beside it, and return that; None if nothing does.
    `phibuild store collect` removes it."""
    if not os.path.lexists(path):
        return None
    for number in itertools.count(1):
        aside = path.with_name(f"{path.name}{MARK}{number}")
        if not os.path.lexists(aside):
            path.rename(aside)
            return aside
    raise AssertionError("there is always another number")


def make_folder(path: Path) -> Path:
    """Create a folder of the store, over anything that is not one, and return its path. A link may
    stand for a folder elsewhere: one that leads nowhere is an error, not replaced."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        wrong = next(one for one in (*reversed(path.parents), path) if not one.is_dir())
        if wrong.is_symlink():
            raise
        move_aside(wrong)
        path.mkdir(parents=True, exist_ok=True)
    return path
