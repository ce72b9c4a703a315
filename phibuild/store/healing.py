"""Replaces a database that cannot be used by an empty one, or by one in memory.

A damaged, foreign or differently versioned file is moved aside, so that the next one starts empty.
Where nothing can be written, what the file holds is copied into memory, and nothing is remembered
after this run.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from phibuild.store.aside import move_aside
from phibuild.store.database import Schema, WrongVersionError, connect, inode_of

_PASSING = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_INTERRUPT,
    }
)
"""Errors of the machine, not of the file."""
_NOT_ALLOWED = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH})


def healed(
    path: Path, schema: Schema, error: Exception, *, inode: int, may_fail: bool
) -> sqlite3.Connection | None:
    """A connection in place of one that ended in `error`, to the file that had this inode. None for
    an error that passes, except where there `may_fail` no connection at all."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    if code in _PASSING and not may_fail:
        return None
    if code in _PASSING or code in _NOT_ALLOWED or _belongs_to_another(path):
        return _in_memory(path, schema, str(error))
    try:
        with _folder_locked(path.parent):
            if inode_of(path) == inode:  # else another process was faster
                _move_aside(path)
                problem = (
                    "was written by another version of phibuild"
                    if isinstance(error, WrongVersionError)
                    else f"was damaged ({error})"
                )
                _notice(f"{path} {problem}; a new one is written, and files are read again")
            return connect(path, schema)
    except (OSError, sqlite3.Error, WrongVersionError) as another:
        return _in_memory(path, schema, str(another))


def _belongs_to_another(path: Path) -> bool:
    """Whether it is another user's private file, which is not damaged."""
    try:
        return not os.access(path, os.R_OK) and path.lstat().st_uid != os.geteuid()
    except OSError:
        return False


@contextmanager
def _folder_locked(folder: Path) -> Iterator[None]:
    """The lock of a folder itself: nothing has to be created for it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # not every file system has locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _move_aside(path: Path) -> None:
    """With the files that SQLite keeps beside a database: it would use them for the new one."""
    for name in (f"{path.name}-wal", f"{path.name}-shm", path.name):
        move_aside(path.with_name(name))


def _in_memory(path: Path, schema: Schema, why: str) -> sqlite3.Connection:
    _notice(f"{path} cannot be used ({why}): this run remembers nothing")
    memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    with suppress(sqlite3.Error):
        # `immutable`: even the files that SQLite writes beside a database cannot be created.
        uri = f"file:{quote(str(path))}?immutable=1"
        with sqlite3.connect(uri, uri=True) as source:
            if source.execute("PRAGMA user_version").fetchone()[0] == schema.version:
                source.backup(memory)
        source.close()
    if not memory.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        memory.executescript(schema.tables)
    return memory


def _notice(text: str) -> None:
    print(f"phibuild: {text}", file=sys.stderr)
