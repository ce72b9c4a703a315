"""A file or a tree as one space of bytes: the files one after the other, in order of their paths.
A delta of a tree is then that of one long file, whose windows never cross from file to file."""

from __future__ import annotations

import hashlib
import os
from bisect import bisect_right
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from phibuild.api import PackagingError

_CHUNK = 4 << 20


class File(NamedTuple):
    """A file of a tree, and where it begins in the space; a path of "" is the root itself."""

    path: str
    size: int
    is_executable: bool = False
    start: int = 0

    @property
    def end(self) -> int:
        """Where the next begins."""
        return self.start + self.size


def bad_path(path: str) -> str:
    """What is wrong with a path that should lie in a tree; empty for a good one."""
    if "\\" in path or "\0" in path or "\ufffd" in path or ":" in path:
        return "has a character that is not for paths"
    if any(part in ("", ".", "..") for part in path.split("/")):
        return "leads out of the tree"
    return ""


def files_of(root: Path) -> tuple[File, ...]:
    """The files below a folder, or the one file; PackagingError PHI703 for links and the like.
    Folders without files are not counted."""
    if root.is_file():
        return (File("", root.stat().st_size),)
    if not root.is_dir():
        raise _no_ordinary_file(root)
    found, start = [], 0
    paths = (path for path in root.rglob("*") if path.is_symlink() or not path.is_dir())
    for name, path in sorted((path.relative_to(root).as_posix(), path) for path in paths):
        why = bad_path(name)
        if path.is_symlink() or not path.is_file() or why:
            raise _no_ordinary_file(path, why)
        status = path.stat()
        found.append(File(name, status.st_size, bool(status.st_mode & 0o100), start))
        start += status.st_size
    return tuple(found)


def _no_ordinary_file(path: Path, why: str = "") -> PackagingError:
    return PackagingError(
        f"{path} {why or 'is no ordinary file'}",
        hint="deltas are of ordinary files, and of trees of them",
        code="PHI703",
    )


def place(files: Sequence[File], offset: int) -> File | None:
    """The file that has the byte at an offset of the space."""
    found = bisect_right(files, offset, key=lambda one: one.start) - 1
    while found >= 0 and files[found].size == 0:
        found -= 1
    return files[found] if found >= 0 and offset < files[found].end else None


class Space:
    """The bytes of the files, which stay open; reading and writing is safe from many threads."""

    def __init__(self, root: Path, files: Sequence[File], *, writable: bool = False) -> None:
        flags = os.O_RDWR | os.O_CREAT if writable else os.O_RDONLY
        self.files = files
        self.size = files[-1].end if files else 0
        self._numbers: dict[str, int] = {}
        try:
            for one in files:
                path = root / one.path if one.path else root
                self._numbers[one.path] = os.open(path, flags | os.O_NOFOLLOW * writable, 0o666)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Space:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        while self._numbers:
            os.close(self._numbers.popitem()[1])

    def read(self, offset: int, size: int) -> bytes:
        """Bytes of one file; fewer where it ends."""
        one = place(self.files, offset)
        if one is None:
            return b""
        number, at = self._numbers[one.path], offset - one.start
        content = os.pread(number, min(size, one.size - at), at)
        while len(content) < min(size, one.size - at):
            more = os.pread(number, min(size, one.size - at) - len(content), at + len(content))
            if not more:
                break
            content += more
        return content

    def write(self, offset: int, content: bytes) -> None:
        """Write bytes that lie in one file."""
        one = place(self.files, offset)
        assert one is not None and offset + len(content) <= one.end
        view, at = memoryview(content), offset - one.start
        while view:
            written = os.pwrite(self._numbers[one.path], view, at)
            view, at = view[written:], at + written

    def settle(self) -> None:
        """Give each file its length and permissions, and see it on the disk."""
        for one in self.files:
            number = self._numbers[one.path]
            os.ftruncate(number, one.size)
            if one.path:
                mode = os.fstat(number).st_mode & 0o777
                mode = mode | (mode & 0o444) >> 2 if one.is_executable else mode & ~0o111
                os.fchmod(number, mode)
            os.fsync(number)

    def sha256(self, progress: Callable[[int], None] = lambda _: None) -> bytes:
        """The digest of all bytes; short where a file has shrunk meanwhile."""
        digest = hashlib.sha256()
        for one in self.files:
            for at in range(one.start, one.end, _CHUNK):
                digest.update(self.read(at, min(_CHUNK, one.end - at)))
                progress(at)
        return digest.digest()
