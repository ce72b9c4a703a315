"""The files of a toolchain at its installation, to find damage later.

Modules that Python compiled are left out: each run of the interpreter may write them.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from phibuild.threads import in_threads

_FORMAT = "phibuild-inventory/1"
_CACHE = "__pycache__"
_THREADS = 6


class Item(NamedTuple):
    """A file: its size in bytes and sha256; or a link: -1 and its target."""

    size: int
    content: str


CHANGED = "was changed"


class FileDifference(NamedTuple):
    """A path in a toolchain's folder, and how it differs, for people."""

    path: str
    how: str

    def __str__(self) -> str:
        return f"{self.path} {self.how}"


Inventory = dict[str, Item]
"""Items by their paths in the toolchain's folder."""


def take_inventory(folder: Path, *, without: str) -> Inventory:
    """Read all files of a folder except the one for the inventory."""
    paths = sorted(path for path in _paths(folder) if path != without)
    items = in_threads(lambda path: _item(folder / path), paths, most=_THREADS)
    return dict(zip(paths, items, strict=True))


def to_text(inventory: Inventory) -> str:
    """JSON, one line for each file."""
    lines = (json.dumps([path, *item]) for path, item in inventory.items())
    return "\n".join([_FORMAT, *lines, ""])


def from_text(text: str) -> Inventory | None:
    """The inverse; None for anything else, such as the empty file of an earlier version."""
    first, *lines = text.splitlines() or [""]
    if first != _FORMAT:
        return None
    try:
        rows = [json.loads(line) for line in lines]
        return {str(path): Item(int(size), str(content)) for path, size, content in rows}
    except (ValueError, TypeError, RecursionError):
        return None


def differences(
    folder: Path, inventory: Inventory, *, without: str, reads: bool
) -> list[FileDifference]:
    """The differences from the installation. Unless it `reads`, a file of the right size counts as
    unchanged."""
    there = set(_paths(folder)) - {without}
    known = [path for path in inventory if path in there]

    def is_changed(path: str) -> bool:
        item = inventory[path]
        try:
            status = os.lstat(folder / path)
            if stat.S_ISLNK(status.st_mode) or item.size < 0 or reads:
                return _item(folder / path) != item
            return status.st_size != item.size
        except OSError:
            return True

    changed = list(in_threads(is_changed, known, most=_THREADS))
    return [
        *(FileDifference(path, "is missing") for path in inventory if path not in there),
        *(
            FileDifference(path, CHANGED)
            for path, is_so in zip(known, changed, strict=True)
            if is_so
        ),
        *(FileDifference(path, "was added") for path in sorted(there) if path not in inventory),
    ]


def _item(path: Path) -> Item:
    if path.is_symlink():
        return Item(-1, os.fspath(path.readlink()))
    with path.open("rb", buffering=0) as stream:
        return Item(path.stat().st_size, hashlib.file_digest(stream, "sha256").hexdigest())


def _paths(folder: Path, prefix: str = "") -> Iterator[str]:
    with os.scandir(folder / prefix) as entries:
        for entry in list(entries):
            path = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                if entry.name != _CACHE:
                    yield from _paths(folder, f"{path}/")
            else:
                yield path
