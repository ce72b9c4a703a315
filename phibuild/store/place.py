"""Putting an artifact in its place: made beside the target, then renamed over it in one step."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from phibuild.model.tree import THE_FILE, Tree


def put_in_place(tree: Tree, target: Path, *, fetch: Callable[[int, Path], None]) -> None:
    """Make `target` be `tree`; `fetch(i, path)` creates the file of entry i. A failure leaves what
    was there before as it was."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".phi-new", dir=target.parent))
    try:
        new = beside / "new"
        for position, entry in enumerate(tree.entries):
            path = new if entry.path == THE_FILE else new / entry.path
            path.parent.mkdir(parents=True, exist_ok=True)
            fetch(position, path)
        _replace(new, target, aside=beside / "old")
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _replace(new: Path, target: Path, *, aside: Path) -> None:
    both_are_files = new.is_file() and (target.is_file() or target.is_symlink())
    if both_are_files or not os.path.lexists(target):
        new.replace(target)
    elif not _exchange(new, target):
        target.rename(aside)
        try:
            new.rename(target)
        except OSError:
            aside.rename(target)
            raise


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step where the kernel can (Linux 3.15, renameat2)."""
    if sys.platform != "linux":
        return False
    import ctypes  # slow to import, and rarely needed

    at_cwd, rename_exchange = -100, 2
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    status = libc.renameat2(
        at_cwd, os.fsencode(one), at_cwd, os.fsencode(other), ctypes.c_uint(rename_exchange)
    )
    if status == 0:
        return True
    if ctypes.get_errno() in (errno.EINVAL, errno.ENOSYS):
        return False
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(other))
