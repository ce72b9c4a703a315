"""Leases: the objects and toolchains that a process is about to use, by name, so that a collection
beside it leaves them.

Each process appends names to a file of its own, which it keeps locked while it lives, and looks
only then whether the objects are there. The collector reads all leases and takes objects away under
a lock that excludes appending. So an object is either leased in time and stays, or is gone when the
process looks, which is a miss.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from phibuild.store.aside import make_folder
from phibuild.store.locks import is_held, locked

GATE = "leases"
"""The lock that appending processes share, and a collector has alone."""


class Lease:
    """The lease of this process in one store, created when it first uses an object. In a store that
    cannot be written there is none: no collection can run beside it by this user."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._guard = threading.Lock()
        self._names: set[str] = set()
        self._file: tuple[Path, int] | None = None

    def hold(self, names: Iterable[str]) -> None:
        """Keep these objects, where they are there now, until `release` or the process's end."""
        with self._guard:
            new = [name for name in names if name not in self._names]
            if not new:
                return
            self._names.update(new)
            with suppress(OSError), locked(self._root / "locks" / GATE, fcntl.LOCK_SH):
                if self._file is None:
                    self._file = self._create()
                os.write(self._file[1], "".join(f"{name}\n" for name in new).encode("ascii"))

    def release(self) -> None:
        """Release all."""
        with self._guard:
            self._names.clear()
            if self._file is not None:
                path, descriptor = self._file
                self._file = None
                with suppress(OSError):
                    path.unlink()
                os.close(descriptor)
                atexit.unregister(self.release)

    def _create(self) -> tuple[Path, int]:
        folder = make_folder(self._root / "leases")
        path = folder / f"{os.getpid()}-{os.urandom(6).hex()}"
        how = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(path, how, 0o666)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        atexit.register(self.release)
        return path, descriptor


def leased(root: Path, *, since: int) -> set[str]:
    """The objects of all leases that are alive, or were written after the time `since`, in
    nanoseconds: what such a process built may be referred to by now. Other leases are removed. The
    caller has the gate alone."""
    names: set[str] = set()
    for path in _files(root / "leases"):
        with suppress(OSError):
            if path.stat().st_mtime_ns >= since or is_held(path):
                names.update(path.read_text("ascii", errors="replace").split())
            else:
                path.unlink()
    return names


@contextmanager
def unleased(root: Path, names: Iterable[str]) -> Iterator[set[str]]:
    """The names that no process has leased, and cannot lease in this context."""
    with locked(root / "locks" / GATE):
        yield set(names) - leased(root, since=time.time_ns())


def _files(folder: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from list(folder.iterdir())
