"""Renames that destroy nothing: two names exchanged, or a name given only if it is free.

Where the kernel has no such call (renameat2: Linux 3.15), the name is checked just before.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

_AT_CWD = -100
_NO_REPLACE = 1
_EXCHANGE = 2


def exchange(one: Path, other: Path, *, aside: Path) -> Path:
    """Give each the name of the other in one step. Elsewhere `other` moves to `aside`, and `one`
    takes its name. Returns where that which was `other` lies now."""
    if _renameat2(one, other, _EXCHANGE):
        return one
    other.rename(aside)
    try:
        rename_new(one, other)
    except OSError:
        if not os.path.lexists(other):
            aside.rename(other)
        raise
    return aside


def rename_new(old: Path, new: Path) -> None:
    """Rename, or FileExistsError if something has the new name."""
    if not _renameat2(old, new, _NO_REPLACE):
        if os.path.lexists(new):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(new))
        old.rename(new)


def _renameat2(one: Path, other: Path, flag: int) -> bool:
    """False where the kernel or the file system does not know the call."""
    if sys.platform != "linux":
        return False
    import ctypes  # slow to import

    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    status = libc.renameat2(
        _AT_CWD, os.fsencode(one), _AT_CWD, os.fsencode(other), ctypes.c_uint(flag)
    )
    if status == 0:
        return True
    if ctypes.get_errno() in (errno.EINVAL, errno.ENOSYS):
        return False
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(one), None, str(other))
