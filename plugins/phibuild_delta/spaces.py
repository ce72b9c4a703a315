"""A file or a tree as one space of bytes: the files one after the other, in order of their paths.
The delta of a tree is that of one long file, in which no window has bytes of two files."""

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
    """Why a path cannot be one inside a tree; empty for a good one."""
    if "\\" in path or "\0" in path or "\ufffd" in path or ":" in path:
        return "has a character that is not supported in paths"
    if any(part in ("", ".", "..") for part in path.split("/")):
        return "leads out of the tree"
    return ""


def files_of(root: Path) -> tuple[File, ...]:
    """The files below a folder, or the one file; PackagingError PHI703 for links and the like.
    Empty folders are left out."""
    if root.is_file():
        return (File("", root.stat().st_size),)
    if not root.is_dir():
        raise _not_supported(root)
    files, start = [], 0
    paths = (path for path in root.rglob("*") if path.is_symlink() or not path.is_dir())
    for name, path in sorted((path.relative_to(root).as_posix(), path) for path in paths):
        problem = bad_path(name)
        if path.is_symlink() or not path.is_file() or problem:
            raise _not_supported(path, problem)
        status = path.stat()
        files.append(File(name, status.st_size, bool(status.st_mode & 0o100), start))
        start += status.st_size
    return tuple(files)


def _not_supported(path: Path, problem: str = "") -> PackagingError:
    return PackagingError(
        f"{path} {problem or 'is not a regular file'}",
        hint="deltas support regular files, and folders of them",
        code="PHI703",
    )


def file_at(files: Sequence[File], offset: int) -> File | None:
    """The file that has the byte at an offset of the space."""
    index = bisect_right(files, offset, key=lambda file: file.start) - 1
    while index >= 0 and files[index].size == 0:
        index -= 1
    return files[index] if index >= 0 and offset < files[index].end else None


class Space:
    """The bytes of the files, which stay open. Threads may read and write at once."""

    def __init__(self, root: Path, files: Sequence[File], *, writable: bool = False) -> None:
        flags = os.O_RDWR | os.O_CREAT if writable else os.O_RDONLY
        self.files = files
        self.size = files[-1].end if files else 0
        self._numbers: dict[str, int] = {}
        try:
            for file in files:
                path = root / file.path if file.path else root
                self._numbers[file.path] = os.open(path, flags | os.O_NOFOLLOW * writable, 0o666)
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
        file = file_at(self.files, offset)
        if file is None:
            return b""
        number, at = self._numbers[file.path], offset - file.start
        size = min(size, file.size - at)
        content = os.pread(number, size, at)
        while len(content) < size:
            more = os.pread(number, size - len(content), at + len(content))
            if not more:
                break
            content += more
        return content

    def write(self, offset: int, content: bytes) -> None:
        """Write bytes of one file."""
        file = file_at(self.files, offset)
        assert file is not None and offset + len(content) <= file.end
        view, at = memoryview(content), offset - file.start
        while view:
            written = os.pwrite(self._numbers[file.path], view, at)
            view, at = view[written:], at + written

    def finish(self) -> None:
        """Give each file its length and permissions, and flush it to the disk."""
        for file in self.files:
            number = self._numbers[file.path]
            os.ftruncate(number, file.size)
            if file.path:
                mode = os.fstat(number).st_mode & 0o777
                mode = mode | (mode & 0o444) >> 2 if file.is_executable else mode & ~0o111
                os.fchmod(number, mode)
            os.fsync(number)

    def sha256(self, progress: Callable[[int], None] = lambda _: None) -> bytes:
        """The digest of all bytes, as far as the files still have them."""
        digest = hashlib.sha256()
        for file in self.files:
            for at in range(file.start, file.end, _CHUNK):
                digest.update(self.read(at, min(_CHUNK, file.end - at)))
                progress(at)
        return digest.digest()
