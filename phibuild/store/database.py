"""The database behind the index: a cache that is replaced when it is damaged, never an error.

What cannot be read is not known, and what cannot be written is forgotten. healing.py replaces a
database that is damaged, foreign or of another version.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

TIMEOUT = 60.0
"""Seconds to wait for another process that writes."""


class Schema(NamedTuple):
    """The tables as SQL, and the version that SQLite keeps in the file's header. Of two databases
    with one version the tables are the same."""

    version: int
    tables: str


class WrongVersionError(Exception):
    """The file is a database, and not one of this version."""


class Database:
    """One connection, safe for threads; several processes may have one to the same file."""

    def __init__(self, path: Path, schema: Schema) -> None:
        self._path, self._schema = path, schema
        self._lock = threading.Lock()
        self._inode = inode_of(path)
        try:
            self._connection = connect(path, schema)
        except (sqlite3.Error, WrongVersionError) as error:
            self._heal(error)

    def close(self) -> None:
        """The database is not used afterwards."""
        self._connection.close()

    def row(self, query: str, *values: object) -> tuple[Any, ...] | None:
        """The first row of an answer; None if there is none or it cannot be read."""
        rows = self.rows(query, *values)
        return rows[0] if rows else None

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """All rows of an answer; none if they cannot be read."""
        with self._lock:
            try:
                return self._connection.execute(query, values).fetchall()
            except sqlite3.DatabaseError as error:
                if self._heal(error):
                    with contextlib.suppress(sqlite3.DatabaseError):
                        return self._connection.execute(query, values).fetchall()
                return []

    def write(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        """Execute a statement for each row, in one transaction."""
        rows = list(rows)
        if not rows:
            return
        with self._lock:
            try:
                self._write(statement, rows)
            except sqlite3.DatabaseError as error:
                if self._heal(error):
                    with contextlib.suppress(sqlite3.DatabaseError):
                        self._write(statement, rows)

    def shrink(self) -> None:
        """Give the room of deleted rows back to the disk, unless another process is reading."""
        with self._lock, contextlib.suppress(sqlite3.DatabaseError):
            self._connection.execute("VACUUM")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _write(self, statement: str, rows: list[tuple[object, ...]]) -> None:
        if len(rows) == 1:
            self._connection.execute(statement, rows[0])
            return
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.executemany(statement, rows)
            self._connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise

    def _heal(self, error: Exception) -> bool:
        """Replace the connection, unless the error passes by itself; whether it was replaced."""
        if isinstance(error, sqlite3.ProgrammingError):
            raise error  # a bug of ours
        from phibuild.store.healing import healed  # rare

        old = getattr(self, "_connection", None)
        new = healed(self._path, self._schema, error, inode=self._inode, may_fail=old is None)
        if new is None:
            return False
        if old is not None:
            with contextlib.suppress(sqlite3.Error):
                old.close()
        self._connection = new
        self._inode = inode_of(self._path)
        return True


def inode_of(path: Path) -> int:
    """The number that distinguishes a file from its replacement; 0 if there is none."""
    try:
        return os.lstat(path).st_ino
    except OSError:
        return 0


def connect(path: Path, schema: Schema) -> sqlite3.Connection:
    """Open a database, or create it; WrongVersionError, or any error of SQLite's."""
    if not inode_of(path):
        with contextlib.suppress(OSError):  # SQLite's own would be writable for its owner alone
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666))
    connection = sqlite3.connect(
        path, timeout=TIMEOUT, isolation_level=None, check_same_thread=False
    )
    try:
        if _version(connection) != schema.version:
            _create(connection, schema)
        connection.execute("PRAGMA synchronous=OFF")
    except BaseException:
        connection.close()
        raise
    return connection


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _create(connection: sqlite3.Connection, schema: Schema) -> None:
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        if _version(connection) == schema.version:
            return  # another process has just created it
        raise WrongVersionError
    _log_ahead(connection)
    connection.execute("BEGIN IMMEDIATE")
    if _version(connection) == schema.version:
        connection.execute("ROLLBACK")
        return
    for table in schema.tables.split(";"):
        connection.execute(table)
    connection.execute(f"PRAGMA user_version={schema.version}")
    connection.execute("COMMIT")


def _log_ahead(connection: sqlite3.Connection) -> None:
    """Let readers continue beside a writer. SQLite does not wait for its timeout here, but fails
    at once where two processes create the database together."""
    until = time.monotonic() + TIMEOUT
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
        time.sleep(0.01)
