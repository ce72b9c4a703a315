"""Advisory file locks: freed by the kernel when their holder dies, however it dies."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from phibuild.model.errors import ActionError
from phibuild.store.aside import make_folder, move_aside


def open_lock(path: Path) -> int:
    """A descriptor to lock. Another user's file, or a folder in its place, can only be read, which
    suffices."""
    make_folder(path.parent)
    try:
        return _open(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        if error.errno == errno.ELOOP:  # no link is followed out of the store
            move_aside(path)
            return _open(path, os.O_RDWR | os.O_CREAT)
        try:
            return _open(path, os.O_RDONLY)
        except OSError:
            raise error from None


def _open(path: Path, how: int) -> int:
    return os.open(path, how | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)


def acquire(path: Path, how: int = fcntl.LOCK_EX) -> int:
    """The descriptor of a lock that is held now. BlockingIOError with LOCK_NB if another process
    has it. Collection may remove the file at the same time: it is created again."""
    while True:
        descriptor = open_lock(path)
        try:
            fcntl.flock(descriptor, how)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.lstat(path)):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


@contextmanager
def locked(path: Path, how: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Hold the lock of this name; wait until it is free."""
    descriptor = acquire(path, how)
    try:
        yield
    finally:
        os.close(descriptor)


def remove_lock(path: Path) -> bool:
    """Remove a lock that no process holds; whether it is gone."""
    try:
        descriptor = acquire(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    try:
        path.unlink()
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def is_held(path: Path) -> bool:
    """Whether a process has a lock on this file or folder, or that is unknown."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


class FolderLock:
    """One build at a time works in a project's folder; held until the process ends."""

    def __init__(self, path: Path, *, folder: Path) -> None:
        self._descriptor: int | None = None
        try:
            self._descriptor = acquire(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ActionError(
                f"another build (process {_holder(path)}) is working in {folder}",
                hint="wait until it ends and start again; its results are then recalled",
                code="PHI405",
            ) from None
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES):
                raise
            return  # a store that cannot be written only recalls
        with suppress(OSError):  # the number is only for people
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Let other builds work in the folder."""
        if self._descriptor is not None:
            os.close(self._descriptor)


def _holder(path: Path) -> str:
    try:
        number = path.read_text("ascii", errors="replace")[:20].strip()
    except OSError:
        number = ""
    return number if number.isdecimal() else "unknown"
