"""Small files of the store: written beside and renamed over, with the umask's permissions."""

from __future__ import annotations

import os
from pathlib import Path

from phibuild.store.aside import make_folder, move_aside


def new_name(path: Path) -> Path:
    """A free name beside a path. tempfile's functions create files for their owner alone."""
    return path.with_name(f".{path.name}.{os.urandom(6).hex()}")


def write_text(path: Path, text: str) -> None:
    """Write a file in one step, over what is there, even a folder."""
    new = new_name(path)
    try:
        make_folder(path.parent)
        with new.open("x", encoding="utf-8") as stream:
            stream.write(text)
        try:
            new.replace(path)
        except IsADirectoryError:
            move_aside(path)
            new.replace(path)
    except BaseException:
        if os.path.lexists(new):
            new.unlink()
        raise
