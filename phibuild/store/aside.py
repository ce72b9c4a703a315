"""Makes room in a store for what belongs there: anything else at its path gets another name."""

from __future__ import annotations

import os
from pathlib import Path

MARK = ".aside-"


def move_aside(path: Path) -> Path | None:
    """Give what lies at a path a free name beside it, and return that; None if nothing does.
    `phibuild store collect` removes it."""
    if not os.path.lexists(path):
        return None
    from phibuild.renaming import rename_beside  # for damage only

    return rename_beside(path, path, MARK)


def make_folder(path: Path) -> Path:
    """Create a folder of the store, over anything that is not one, and return its path. A link may
    stand for a folder elsewhere: one that leads nowhere is an error, not replaced."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        wrong = next(part for part in (*reversed(path.parents), path) if not part.is_dir())
        if wrong.is_symlink():
            raise
        move_aside(wrong)
        path.mkdir(parents=True, exist_ok=True)
    return path
