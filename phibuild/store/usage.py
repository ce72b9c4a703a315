"""The disk usage of a store: blocks rather than lengths, and each file once, whatever its links."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

APART = ("toolchains", "uv", "bytecode")
"""Parts that a limit does not count: collecting results does not free them."""


def disk_usage(root: Path, *, without: Collection[str] = ()) -> dict[str, int]:
    """Bytes on the disk of each name in the store's folder. A file that several names share, as
    toolchains and uv's cache do, counts for the first of them by the alphabet, those apart last."""
    seen: set[tuple[int, int]] = set()
    usage = {}
    paths = [path for path in root.iterdir() if path.name not in without]
    for path in sorted(paths, key=lambda path: (path.name in APART, path.name)):
        usage[path.name] = 0
        for stat in _stats(path):
            if stat.st_nlink == 1 or (stat.st_dev, stat.st_ino) not in seen:
                seen.add((stat.st_dev, stat.st_ino))
                usage[path.name] += blocks(stat)
    return usage


def blocks(stat: os.stat_result) -> int:
    """The bytes of a file on the disk."""
    return stat.st_blocks * 512


def bytes_below(path: Path) -> int:
    """Bytes on the disk of a file or a folder with all that it holds."""
    return sum(blocks(stat) for stat in _stats(path))


def counted(usage: dict[str, int]) -> int:
    """The bytes that a limit counts."""
    return sum(size for name, size in usage.items() if name not in APART)


def counted_usage(root: Path) -> int:
    """The bytes of a store that a limit counts; what it does not count is not read, which is most
    of the files."""
    return counted(disk_usage(root, without=APART))


def _stats(path: Path) -> Iterator[os.stat_result]:
    waiting = [str(path)]
    while waiting:
        with suppress(OSError):
            place = waiting.pop()
            yield os.lstat(place)
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        yield entry.stat(follow_symlinks=False)
