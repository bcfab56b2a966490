"""The SQLite connection: opened, checked and migrated in one place, and SQLite's errors translated in one place.

One process writes (it holds the home's lock), any number read meanwhile: the journal is a write-ahead log. `synchronous=FULL`
makes a transaction durable before it returns, which the voting state needs: a vote must never be forgotten once sent.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..errors import StoreFull, UserError
from .schema import APPLICATION, MIGRATIONS, SCHEMA, VERSION

_BUSY_SECONDS = 5.0
_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_SHMSIZE)

Values = Sequence[bytes | int | str | None]


class Index:
    """The database at `path`. Use it from the thread that made it."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open it, and make it if it is not there and may be written. Raises UserError."""
        self.path = path
        self.read_only = read_only
        with self._translated():
            self._connection = _connect(path, read_only)
        try:
            with self._translated():
                self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close it; the write-ahead log is folded in if nobody else has it open."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do what the block does whole or not at all; nested blocks are part of the outermost. Raises StoreFull."""
        if self._connection.in_transaction:
            yield
            return
        with self._translated():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def write(self, statement: str, values: Values = ()) -> int:
        """Run one statement, durably when it returns, and return how many rows it changed. Raises StoreFull."""
        with self.transaction():
            return self._connection.execute(statement, values).rowcount

    def rows(self, query: str, values: Values = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        with self._translated():
            return self._connection.execute(query, values).fetchall()

    def one(self, query: str, values: Values = ()) -> Any:
        """Return the first column of the first row, None if there is no row."""
        with self._translated():
            row = self._connection.execute(query, values).fetchone()
        return None if row is None else row[0]

    def _prepare(self) -> None:
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise UserError(f"{self.path} was written by a newer collab-node", "update this one")
        if self.read_only:
            if version == 0:
                raise UserError(f"{self.path} holds no history yet")
            self._run(_for_this_connection(MIGRATIONS[version - 1 :]))
        elif version < VERSION:
            self._upgrade()

    def _upgrade(self) -> None:
        with self.transaction():
            # Asked again: another process may have done it while this one waited for its turn.
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                self._run([SCHEMA])
                self._connection.execute(f"PRAGMA application_id = {APPLICATION}")
            self._run(MIGRATIONS[max(version, 1) - 1 :])
            self._connection.execute(f"PRAGMA user_version = {VERSION}")

    def _run(self, scripts: Sequence[str]) -> None:
        for script in scripts:
            for statement in script.split(";\n"):
                self._connection.execute(statement)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0)
            if code in _FULL:
                raise StoreFull(self.path) from error
            if code & 0xFF == sqlite3.SQLITE_BUSY:
                raise UserError(f"{self.path} is being written by another process", "stop the other node") from error
            if code & 0xFF in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
                raise UserError(f"cannot open {self.path}: {error}", "check its owner and permissions") from error
            if code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise UserError(f"{self.path} is damaged ({error})", "move the event's folder away and join again") from error
            raise


def _connect(path: Path, read_only: bool) -> sqlite3.Connection:
    mode = "ro" if read_only else "rwc"
    uri = f"file:{quote(str(path.absolute()))}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=_BUSY_SECONDS)
    try:
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _for_this_connection(migrations: Sequence[str]) -> list[str]:
    return [migration.replace("CREATE TABLE", "CREATE TEMP TABLE") for migration in migrations]
