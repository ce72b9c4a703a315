"""All that a folder holds, byte for byte: to compare before and after."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

Snapshot = dict[str, tuple[str, int, str]]


def snapshot(folder: Path, *, without: Sequence[Path] = ()) -> Snapshot:
    """Kind, mode, and content (or target of a link) of everything below a folder; `without` are
    files and folders to leave out."""
    snapshot: Snapshot = {}
    waiting = [folder]
    while waiting:
        for path in waiting.pop().iterdir():
            if path in without or path.name == "__pycache__":
                continue
            mode = path.lstat().st_mode
            name = str(path.relative_to(folder))
            if stat.S_ISLNK(mode):
                snapshot[name] = ("link", 0, os.fspath(path.readlink()))
            elif stat.S_ISDIR(mode):
                snapshot[name] = ("folder", stat.S_IMODE(mode), "")
                waiting.append(path)
            else:
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                snapshot[name] = ("file", stat.S_IMODE(mode), digest)
    return snapshot
