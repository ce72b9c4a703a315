"""Finds files that no build or result needs: logs, locks, old code, files that were moved aside,
and those of killed processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from phibuild.store.aside import MARK
from phibuild.store.locks import remove_lock
from phibuild.store.workspaces import INSTALLING, abandoned

_HOUR, _DAY = 3600, 86400
_LOGS = 14 * _DAY
"""Seconds for which the log of an action is kept."""


def leftovers(root: Path, *, now: float) -> Iterator[Path]:
    """Files and folders that may be removed, beside locks; `now` in seconds since 1970."""
    yield from abandoned(root / "work")
    yield from abandoned(root / "toolchains", prefix=INSTALLING)
    yield from _older(root / "logs", now - _LOGS)
    yield from _older(root / "code", now - _DAY)
    for path in (*_names(root), *_names(root / "toolchains"), *_names(root / "locks")):
        if MARK in path.name or path.name == "plugins.json":  # an earlier version's
            yield path
        elif path.name.startswith(".format.") or path.name.endswith(".phi-new"):
            yield from _of_age(path, now - _HOUR)
    for path in _names(root / "results"):
        if path.name.startswith("."):  # half written
            yield from _of_age(path, now - _HOUR)


def remove_locks(root: Path) -> None:
    """Remove the locks that no process holds."""
    for path in _names(root / "locks"):
        if path.is_file():
            remove_lock(path)


def _older(folder: Path, moment: float) -> Iterator[Path]:
    for path in _names(folder):
        yield from _of_age(path, moment)


def _of_age(path: Path, moment: float) -> Iterator[Path]:
    with suppress(OSError):
        if path.lstat().st_mtime < moment:
            yield path


def _names(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
