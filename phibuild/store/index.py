"""What was learnt of files and actions: a cache whose loss costs only time.

A file's entry holds while size, mtime, ctime and inode stay the same. ctime cannot be set by a
program, so changed bytes under a kept mtime are found. An object of the store may be linked and
unlinked, which moves its ctime: its seal is size, mtime and inode alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from phibuild.model.digest import Digest

Kind = Literal["digest", "json", "weights", "tokens", "seal", "program", "code"]

_TIMEOUT = 60.0
_SETTLED_NS = 20_000_000
"""A file younger than this may change again within one tick of the file system's clock."""
_POLL_SECONDS = 0.001
_COARSE = 5  # CLOCK_REALTIME_COARSE in linux/time.h


class Cost(NamedTuple):
    """What an action takes: bytes that it reads, wall time in seconds, peak resident memory in
    bytes, and bytes that it makes (None if that is not known)."""

    input_bytes: int
    seconds: float
    peak_bytes: int
    made_bytes: int | None


class Piece(NamedTuple):
    """A range of bytes in an object, in bytes; `sha256` are the hexadecimal digits of theirs."""

    offset: int
    size: int
    sha256: str


class Index:
    """A small SQLite database beside the objects, safe for threads and for several processes."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(
            path, timeout=_TIMEOUT, isolation_level=None, check_same_thread=False
        )
        _log_ahead(self._database)
        self._database.executescript(
            "PRAGMA synchronous=OFF;"
            "CREATE TABLE IF NOT EXISTS files"
            " (path TEXT, kind TEXT, signature TEXT, value TEXT, PRIMARY KEY (path, kind))"
            " WITHOUT ROWID;"
            "CREATE TABLE IF NOT EXISTS runs"
            " (kind TEXT, magnitude INTEGER, input INTEGER, seconds REAL, peak INTEGER,"
            " made INTEGER, PRIMARY KEY (kind, magnitude)) WITHOUT ROWID;"
            "CREATE TABLE IF NOT EXISTS slices (digest TEXT PRIMARY KEY, items TEXT) WITHOUT ROWID;"
            "CREATE TABLE IF NOT EXISTS pieces"
            " (key TEXT PRIMARY KEY, object TEXT, start INTEGER, size INTEGER, digest TEXT)"
            " WITHOUT ROWID;"
            "CREATE TABLE IF NOT EXISTS placed (path BLOB PRIMARY KEY, files TEXT) WITHOUT ROWID;"
        )

    def close(self) -> None:
        """Close the database; the index is not used afterwards."""
        self._database.close()

    def recall(self, path: Path, kind: Kind) -> str | None:
        """What was recorded of this file, if it has not changed since."""
        row = self._one("SELECT signature, value FROM files WHERE path=? AND kind=?", path, kind)
        if row is None:
            return None
        try:
            return str(row[1]) if row[0] == _signature(path, kind) else None
        except FileNotFoundError:
            return None

    def is_sealed(self, path: str, value: str, *, found_at: str) -> bool:
        """Whether `found_at` is the sealed file `path` itself, by another link, and unchanged."""
        row = self._one("SELECT signature, value FROM files WHERE path=? AND kind='seal'", path)
        return row is not None and row[1] == value and row[0] == _signature(found_at, "seal")

    def record(self, path: Path, kind: Kind, value: str, *, seen: str) -> None:
        """Remember `value`, learnt of the file while its signature was `seen`."""
        if kind != "seal":
            stat = path.stat()
            settle(max(stat.st_mtime_ns, stat.st_ctime_ns))
        if _signature(path, kind) == seen:
            with self._lock:
                self._database.execute(
                    "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)",
                    (str(path), kind, seen, value),
                )

    def signature(self, path: Path, kind: Kind = "digest") -> str:
        """What must stay the same for a record to hold."""
        return _signature(path, kind)

    def digest_of(self, path: Path) -> Digest:
        """The digest of a file's bytes, read only if it changed since it was last seen."""
        known = self.recall(path, "digest")
        if known is not None:
            return Digest.parse(known)
        seen = _signature(path, "digest")
        digest = hash_file(path)
        self.record(path, "digest", str(digest), seen=seen)
        return digest

    def cost_of(self, kind: str, *, near: int) -> Cost | None:
        """What the last action of this kind cost whose input was of about that many bytes, or as
        near to that as there is one."""
        row = self._one(
            "SELECT input, seconds, peak, made FROM runs WHERE kind=?"
            " ORDER BY abs(magnitude - ?) LIMIT 1",
            kind,
            str(near.bit_length()),
        )
        return None if row is None else Cost(*row)

    def record_cost(self, kind: str, cost: Cost) -> None:
        """Remember what a run cost; of one magnitude of inputs, the newest one counts."""
        with self._lock:
            self._database.execute(
                "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?)",
                (kind, cost.input_bytes.bit_length(), *cost),
            )

    def items_of(self, digest: str) -> dict[str, str] | None:
        """What the slice of this digest consisted of; None if that was not recorded."""
        row = self._one("SELECT items FROM slices WHERE digest=?", digest)
        found: dict[str, str] | None = None if row is None else json.loads(row[0])
        return found

    def record_items(self, digest: str, items: Mapping[str, str]) -> None:
        """Remember what a slice consists of."""
        with self._lock:
            self._database.execute(
                "INSERT OR IGNORE INTO slices VALUES (?, ?)", (digest, json.dumps(items))
            )

    def piece(self, key: str) -> tuple[str, Piece] | None:
        """The name of an object, and the range of it that has this key."""
        row = self._one("SELECT object, start, size, digest FROM pieces WHERE key=?", key)
        return None if row is None else (row[0], Piece(row[1], row[2], row[3]))

    def record_pieces(self, name: str, pieces: Mapping[str, Piece]) -> None:
        """Remember ranges of the object of this name, in place of what had these keys before."""
        rows = [(key, name, one.offset, one.size, one.sha256) for key, one in pieces.items()]
        with self._lock:
            self._database.executemany("INSERT OR REPLACE INTO pieces VALUES (?, ?, ?, ?, ?)", rows)

    def placed(self, target: str) -> str | None:
        """What was recorded of the files that were placed at this path (see placements.py)."""
        row = self._one("SELECT files FROM placed WHERE path=?", os.fsencode(target))
        return None if row is None else str(row[0])

    def record_placed(self, target: str, files: str) -> None:
        """Remember the files at a path, in place of what was remembered of it."""
        with self._lock:
            self._database.execute(
                "INSERT OR REPLACE INTO placed VALUES (?, ?)", (os.fsencode(target), files)
            )

    def _one(self, query: str, *values: object) -> tuple[Any, ...] | None:
        with self._lock:
            row: tuple[Any, ...] | None = self._database.execute(
                query, tuple(one if isinstance(one, bytes) else str(one) for one in values)
            ).fetchone()
        return row


def _log_ahead(database: sqlite3.Connection) -> None:
    """Let readers go on while somebody writes. SQLite does not wait for its timeout here, but fails
    at once where two processes create the database together."""
    until = time.monotonic() + _TIMEOUT
    while True:
        try:
            database.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
        time.sleep(0.01)


def hash_file(path: Path) -> Digest:
    """sha256 of a file's bytes, in bounded memory."""
    with path.open("rb", buffering=0) as stream:
        return Digest(hashlib.file_digest(stream, "sha256").hexdigest())


def settle(newest: int) -> None:
    """Wait until a change of a file whose newest time is this, in nanoseconds, would show in it."""
    while 0 <= time.time_ns() - newest < _SETTLED_NS and _tick() <= newest:
        time.sleep(_POLL_SECONDS)


def _tick() -> int:
    """The clock that Linux takes the times of files from; elsewhere none is known."""
    return time.clock_gettime_ns(_COARSE) if sys.platform == "linux" else 0


def _signature(path: Path | str, kind: Kind) -> str:
    stat = os.stat(path)  # noqa: PTH116 - the hot path of a null build
    seal = f"{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ino}"
    return seal if kind == "seal" else f"{seal}:{stat.st_ctime_ns}"
