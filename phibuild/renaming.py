"""Renames that destroy nothing: exchange two files, or move one to a free name.

Where the kernel has no such call (renameat2: Linux 3.15), the name is checked just before.
"""

from __future__ import annotations

import errno
import itertools
import os
import sys
from contextlib import suppress
from pathlib import Path

_AT_CWD = -100
_NO_REPLACE = 1
_EXCHANGE = 2
KEPT = ".kept-"
"""The mark of files that are not phibuild's and were moved out of its way."""
_LONGEST_NAME = 200
"""Bytes of a name before a mark is added."""


def exchange(new: Path, old: Path, *, aside: Path) -> Path:
    """Give each the name of the other in one step. Elsewhere `old` moves to `aside`, and `new` gets
    its name. Returns the path of what was `old`."""
    if _renameat2(new, old, _EXCHANGE):
        return new
    old.rename(aside)
    try:
        rename_new(new, old)
    except OSError:
        if not os.path.lexists(old):
            aside.rename(old)
        raise
    return aside


def rename_new(old: Path, new: Path) -> None:
    """Rename, or FileExistsError if something has the new name."""
    if not _renameat2(old, new, _NO_REPLACE):
        if os.path.lexists(new):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(new))
        old.rename(new)


def rename_beside(path: Path, target: Path, mark: str) -> Path:
    """Rename to the first free name of `<target><mark>1`, `<target><mark>2`..., and return it."""
    for number in itertools.count(1):
        free = target.with_name(f"{shortened(target.name)}{mark}{number}")
        with suppress(FileExistsError):
            rename_new(path, free)
            return free
    raise AssertionError("there is always another number")


def shortened(name: str) -> str:
    """The beginning of a name, so that a longer name that begins with it is not too long."""
    while len(os.fsencode(name)) > _LONGEST_NAME:
        name = name[:-1]
    return name


def _renameat2(old: Path, new: Path, flag: int) -> bool:
    """False where the kernel or the file system does not know the call."""
    if sys.platform != "linux":
        return False
    import ctypes  # slow to import

    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    status = libc.renameat2(
        _AT_CWD, os.fsencode(old), _AT_CWD, os.fsencode(new), ctypes.c_uint(flag)
    )
    if status == 0:
        return True
    if ctypes.get_errno() in (errno.EINVAL, errno.ENOSYS):
        return False
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(old), None, str(new))
