"""Copies of objects: reflinks where the file system supports them.

docs/decisions/0019-artifacts-are-copies.md says why a hard link is made only on request.
"""

from __future__ import annotations

import enum
import errno
import os
import sys
import tempfile
from pathlib import Path

from phibuild.model.errors import StoreError
from phibuild.model.tree import Tree

LINK = "PHIBUILD_LINK"
"""The environment variable that requests hard links."""
SMALL = 1 << 20
"""Bytes below which a file is never a hard link: a copy of it costs nothing."""

_CHUNK = 1 << 30
_FICLONE = 0x40049409  # linux/fs.h
_NOT_SUPPORTED = frozenset(
    {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF}
)


class Way(enum.Enum):
    """How a file gets the bytes of an object."""

    REFLINK = "reflink"
    COPY = "copy"
    HARD_LINK = "hard link"


def are_hard_links_requested() -> bool:
    """Whether PHIBUILD_LINK=hard is set; StoreError PHI305 for any other value."""
    value = os.environ.get(LINK, "")
    if value not in ("", "hard"):
        raise StoreError(
            f"{LINK}={value} is not supported",
            hint=f"unset it, or write {LINK}=hard for hard links to the store's objects",
            code="PHI305",
        )
    return value == "hard"


def may_be_links(tree: Tree) -> bool:
    """Whether large files of the tree may be hard links: onnx refuses external data with several
    links."""
    return not any(entry.path.endswith(".onnx") for entry in tree.entries)


def copy_file(source: Path, target: Path, *, executable: bool) -> None:
    """Create `target`. A failure may leave a part of it there."""
    mode = 0o755 if executable else 0o644
    if sys.platform == "darwin" and _clone(source, target, mode):
        return
    reading = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        writing = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            if not _reflink(reading, writing):
                _copy(reading, writing)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def way_to(folder: Path, *, source: Path) -> Way:
    """How large artifacts in `folder` get the bytes of files beside `source`. This tries it, and
    removes what it created."""
    if are_hard_links_requested() and source.stat().st_dev == folder.stat().st_dev:
        return Way.HARD_LINK
    return Way.REFLINK if _can_reflink(source, folder) else Way.COPY


def _can_reflink(source: Path, folder: Path) -> bool:
    if sys.platform == "darwin":
        with tempfile.TemporaryDirectory(prefix=".", dir=folder) as probe:
            return _clone(source, Path(probe) / "probe", 0o644)
    try:
        with source.open("rb") as reading, tempfile.TemporaryFile(dir=folder) as writing:
            return _reflink(reading.fileno(), writing.fileno())
    except OSError:
        return False


def _reflink(reading: int, writing: int) -> bool:
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        fcntl.ioctl(writing, _FICLONE, reading)
    except OSError:
        return False
    return True


def _clone(source: Path, target: Path, mode: int) -> bool:
    """The same on macOS, where a clone has the mode and the times of its source."""
    from reflink_copy import reflink  # compiled

    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
    mode = target.stat().st_mode & 0o777  # without the umask
    target.unlink()
    try:
        reflink(str(source), str(target))
    except OSError:
        target.unlink(missing_ok=True)
        return False
    target.chmod(mode)
    os.utime(target)
    return True


def _copy(reading: int, writing: int) -> None:
    """Each way continues where the previous one stopped: at the end, or where it is not
    supported."""
    size, done = os.fstat(reading).st_size, 0
    for move in (_move_in_file_system, _move_in_kernel, _move):
        try:
            while done < size and (count := move(reading, writing)):
                done += count
        except OSError as error:
            if error.errno not in _NOT_SUPPORTED:
                raise
    if done != size:
        raise OSError(errno.EIO, "the copy is incomplete")


def _move_in_file_system(reading: int, writing: int) -> int:
    if sys.platform != "linux":
        return 0
    return os.copy_file_range(reading, writing, _CHUNK)


def _move_in_kernel(reading: int, writing: int) -> int:
    """Between file systems of different types."""
    if sys.platform != "linux":
        return 0
    return os.sendfile(writing, reading, None, _CHUNK)


def _move(reading: int, writing: int) -> int:
    block = os.read(reading, SMALL)
    rest = memoryview(block)
    while rest:
        rest = rest[os.write(writing, rest) :]
    return len(block)
