"""Facts about files and actions: a cache whose loss costs only time.

A file's entry is valid while size, mtime, ctime and inode stay the same. No program can set ctime,
so changed bytes under an old mtime are noticed. Links to an object of the store change its ctime:
its seal is size, mtime and inode alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from phibuild.model.digest import Digest
from phibuild.model.manifest import SUFFIX
from phibuild.model.parsing import parse_json
from phibuild.store.database import Database, Schema

Kind = Literal["digest", "json", "weights", "tokens", "seal", "program", "code"]

_SETTLED_NS = 20_000_000
"""A file younger than this may change again within one tick of the file system's clock."""
_POLL_SECONDS = 0.001
_COARSE = 5  # CLOCK_REALTIME_COARSE in linux/time.h


class Cost(NamedTuple):
    """The cost of an action: bytes that it reads, wall time in seconds, peak resident memory in
    bytes, and bytes that it writes (None if unknown)."""

    input_bytes: int
    seconds: float
    peak_bytes: int
    output_bytes: int | None


class ObjectRange(NamedTuple):
    """A range of bytes in an object; `sha256` are the hexadecimal digits of their digest."""

    offset: int
    size: int
    sha256: str


_SCHEMA = Schema(
    0x50680002,  # "Ph", and the version of the tables
    "CREATE TABLE files"
    " (path TEXT, kind TEXT, signature TEXT, value TEXT, PRIMARY KEY (path, kind)) WITHOUT ROWID;"
    "CREATE TABLE runs"
    " (kind TEXT, magnitude INTEGER, input INTEGER, seconds REAL, peak INTEGER, made INTEGER,"
    " PRIMARY KEY (kind, magnitude)) WITHOUT ROWID;"
    "CREATE TABLE slices (digest TEXT PRIMARY KEY, items TEXT) WITHOUT ROWID;"
    "CREATE TABLE pieces"
    " (key TEXT PRIMARY KEY, object TEXT, start INTEGER, size INTEGER, digest TEXT) WITHOUT ROWID;"
    "CREATE TABLE placed (path BLOB PRIMARY KEY, files TEXT) WITHOUT ROWID",
)


class Index:
    """A small SQLite database beside the objects, safe for threads and for several processes."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, _SCHEMA)

    def close(self) -> None:
        """Close the database; the index is not used afterwards."""
        self._database.close()

    def recall(self, path: Path, kind: Kind) -> str | None:
        """The value recorded for this file, if it has not changed since."""
        row = self._row("SELECT signature, value FROM files WHERE path=? AND kind=?", path, kind)
        if row is None:
            return None
        try:
            return str(row[1]) if row[0] == _signature(path, kind) else None
        except OSError:
            return None

    def is_sealed(self, path: str, value: str, *, found_at: str) -> bool:
        """Whether `found_at` is another link to the sealed file `path`, unchanged."""
        row = self._row("SELECT signature, value FROM files WHERE path=? AND kind='seal'", path)
        return row is not None and row[1] == value and row[0] == _signature(found_at, "seal")

    def record(self, path: Path, kind: Kind, value: str, *, seen: str) -> None:
        """Remember `value`, read from the file while its signature was `seen`."""
        if kind != "seal":
            stat = path.stat()
            settle(max(stat.st_mtime_ns, stat.st_ctime_ns))
        if _signature(path, kind) == seen:
            self._database.write(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", [(str(path), kind, seen, value)]
            )

    def signature(self, path: Path, kind: Kind = "digest") -> str:
        """What must stay the same while a record is valid."""
        return _signature(path, kind)

    def digest_of(self, path: Path) -> Digest:
        """The digest of a file's bytes, read only if it changed since it was last seen."""
        known = self.recall(path, "digest")
        if known is not None:
            with contextlib.suppress(ValueError):  # damage
                return Digest.parse(known)
        seen = _signature(path, "digest")
        digest = hash_file(path)
        self.record(path, "digest", str(digest), seen=seen)
        return digest

    def cost_of(self, kind: str, *, near: int) -> Cost | None:
        """The cost of the last action of this kind, with the input nearest to this number of
        bytes."""
        row = self._row(
            "SELECT input, seconds, peak, made FROM runs WHERE kind=?"
            " ORDER BY abs(magnitude - ?) LIMIT 1",
            kind,
            str(near.bit_length()),
        )
        return None if row is None else Cost(*row)

    def record_cost(self, kind: str, cost: Cost) -> None:
        """Remember the cost of a run; for each magnitude of inputs, the newest one counts."""
        self._database.write(
            "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?)",
            [(kind, cost.input_bytes.bit_length(), *cost)],
        )

    def items_of(self, digest: str) -> dict[str, str] | None:
        """The parts of the slice with this digest; None if they were not recorded."""
        row = self._row("SELECT items FROM slices WHERE digest=?", digest)
        try:
            items = None if row is None else parse_json(row[0])
        except (ValueError, TypeError):  # damage
            return None
        return items if isinstance(items, dict) else None

    def record_items(self, digest: str, items: Mapping[str, str]) -> None:
        """Remember the parts of a slice."""
        self._database.write(
            "INSERT OR IGNORE INTO slices VALUES (?, ?)", [(digest, json.dumps(items))]
        )

    def piece(self, key: str) -> tuple[str, ObjectRange] | None:
        """The object's name and the range that this key names."""
        row = self._row("SELECT object, start, size, digest FROM pieces WHERE key=?", key)
        return None if row is None else (row[0], ObjectRange(row[1], row[2], row[3]))

    def record_pieces(self, name: str, pieces: Mapping[str, ObjectRange]) -> None:
        """Remember ranges of the object with this name, instead of those that had these keys
        before."""
        rows = [(key, name, *piece) for key, piece in pieces.items()]
        self._database.write("INSERT OR REPLACE INTO pieces VALUES (?, ?, ?, ?, ?)", rows)

    def placements(self, target: str) -> str | None:
        """The record of the files that were placed at this path (see placements.py)."""
        row = self._row("SELECT files FROM placed WHERE path=?", os.fsencode(target))
        return None if row is None else str(row[0])

    def record_placements(self, target: str, files: str) -> None:
        """Remember the files at a path, instead of those remembered before."""
        self._database.write(
            "INSERT OR REPLACE INTO placed VALUES (?, ?)", [(os.fsencode(target), files)]
        )

    def placed_targets(self) -> list[str]:
        """The paths at which files were placed, or seen in place."""
        return [os.fsdecode(path) for (path,) in self._database.rows("SELECT path FROM placed")]

    def pieces_of(self, name: str) -> dict[str, ObjectRange]:
        """The ranges of the object with this name, by key."""
        rows = self._database.rows(
            "SELECT key, start, size, digest FROM pieces WHERE object=?", name
        )
        return {row[0]: ObjectRange(*row[1:]) for row in rows}

    def forget_pieces(self, keys: Iterable[str]) -> None:
        """Forget these pieces."""
        self._database.write("DELETE FROM pieces WHERE key=?", [(key,) for key in keys])

    def forget_object(self, name: str) -> None:
        """Forget the pieces of an object that is gone."""
        self._database.write("DELETE FROM pieces WHERE object=?", [(name,)])

    def prune(self, *, slices: Collection[str]) -> None:
        """Forget files and targets that are gone, and all slices but these."""
        gone = [
            row for row in self._database.rows("SELECT path, kind FROM files") if _is_gone(row[0])
        ]
        self._database.write("DELETE FROM files WHERE path=? AND kind=?", gone)
        unplaced = [
            (os.fsencode(path),)
            for path in self.placed_targets()
            if _is_gone(path) and _is_gone(f"{path}{SUFFIX}")
        ]
        self._database.write("DELETE FROM placed WHERE path=?", unplaced)
        old = [
            row for row in self._database.rows("SELECT digest FROM slices") if row[0] not in slices
        ]
        self._database.write("DELETE FROM slices WHERE digest=?", old)
        self._database.shrink()

    def _row(self, query: str, *values: object) -> tuple[Any, ...] | None:
        return self._database.row(
            query, *(value if isinstance(value, bytes) else str(value) for value in values)
        )


def _is_gone(path: str) -> bool:
    return not os.path.lexists(path)


def hash_file(path: Path) -> Digest:
    """sha256 of a file's bytes, in bounded memory."""
    with path.open("rb", buffering=0) as stream:
        return Digest(hashlib.file_digest(stream, "sha256").hexdigest())


def settle(newest: int) -> None:
    """Wait until a change of a file whose newest time is this, in nanoseconds, would show in its
    times."""
    while 0 <= time.time_ns() - newest < _SETTLED_NS and _tick() <= newest:
        time.sleep(_POLL_SECONDS)


def _tick() -> int:
    """The clock of the times of files under Linux; 0 elsewhere."""
    return time.clock_gettime_ns(_COARSE) if sys.platform == "linux" else 0


def _signature(path: Path | str, kind: Kind) -> str:
    stat = os.stat(path)  # noqa: PTH116 - the hot path of a null build
    seal = f"{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ino}"
    return seal if kind == "seal" else f"{seal}:{stat.st_ctime_ns}"
