"""Workspaces: folders on the store's file system that are removed after their use.

Each is locked while its process lives. That of a killed process has no lock, and the next build
removes it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from phibuild.store.aside import make_folder
from phibuild.store.locks import is_held

INSTALLING = ".phi-new-"
"""The prefix of workspaces in a folder with other files."""


@contextmanager
def workspace(work: Path, *, prefix: str = "") -> Iterator[Path]:
    """A fresh folder in `work`, private to this user."""
    folder, descriptor = _create(make_folder(work), prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def abandoned(work: Path, *, prefix: str = "") -> Iterator[Path]:
    """The folders of killed processes in `work`."""
    with suppress(OSError):
        for path in list(work.iterdir()):
            if path.name.startswith(prefix) and not is_held(path):
                yield path


def sweep(work: Path) -> None:
    """Remove the folders of killed processes."""
    for path in abandoned(work):
        with suppress(OSError):
            remove(path)


def remove(path: Path) -> None:
    """Remove a file, link or whole folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _create(work: Path, prefix: str) -> tuple[Path, int]:
    while True:  # another build may sweep it before it is locked
        folder = work / f"{prefix}{os.urandom(6).hex()}"
        folder.mkdir(mode=0o700)
        with suppress(FileNotFoundError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
            with suppress(OSError):  # not every file system has locks
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), folder.stat()):
                    return folder, descriptor
            os.close(descriptor)
