"""State on disk: SQLite, whole or not at all, never overwritten when it is damaged or newer."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from pathlib import Path

import msgspec

from modeldeploy import paths
from modeldeploy.errors import ModelDeployError, StateUnreadable
from modeldeploy.supervisor.migrations import MIGRATIONS
from modeldeploy.supervisor.record import Record

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Record).decode


class StateNotWritten(ModelDeployError):
    """The disk refused; what was there before is still there."""

    code, status = "state_not_written", 507


class Store:
    """The deployments of one instance. One writer: the supervisor that holds the lock.

    Each save is one transaction with ``synchronous=FULL``: after a kill -9 or a full disk the
    old record is there or the new one.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.set_aside: Path | None = None
        self._db = self._open()

    def _open(self) -> sqlite3.Connection:
        os.close(paths.private_open(self.file, os.O_RDWR | os.O_CREAT))
        try:
            return self._migrated()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise  # a full disk or a lock says nothing about the file's contents
            self._move_aside()
            os.close(paths.private_open(self.file, os.O_RDWR | os.O_CREAT))
            return self._migrated()

    def _migrated(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.file, isolation_level=None, timeout=10)
        try:
            version = self._known_version(db)  # first: a newer file is not touched at all
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.execute("PRAGMA foreign_keys=ON")
            if db.execute("PRAGMA quick_check").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("quick_check failed")
            self._migrate(db, version)
            for suffix in ("-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    Path(f"{self.file}{suffix}").chmod(0o600)
        except BaseException:  # whatever it was, the connection must not leak
            db.close()
            raise
        return db

    def _known_version(self, db: sqlite3.Connection) -> int:
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        if version > len(MIGRATIONS):
            raise StateUnreadable(
                f"{self.file} was written by a newer modeldeploy (format {version}; "
                f"this one knows {len(MIGRATIONS)})",
                hint="upgrade modeldeploy, or set MODELDEPLOY_HOME to another directory",
            )
        return version

    def _migrate(self, db: sqlite3.Connection, version: int) -> None:
        for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
            db.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version={number}; COMMIT;")

    def _move_aside(self) -> None:
        """Keep the damaged files for whoever wants to look, under a name that says what they are."""
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        self.set_aside = self.file.with_name(f"{self.file.name}.damaged-{stamp}")
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{self.file}{suffix}").replace(f"{self.set_aside}{suffix}")

    def records(self) -> list[Record]:
        """All deployments, oldest first.

        Raises:
            StateUnreadable: a record is not what this version can read.
        """
        rows = self._db.execute("SELECT name, body FROM deployments ORDER BY created_at, name")
        found = []
        for name, body in rows:
            try:
                found.append(_decode(body))
            except msgspec.DecodeError as error:
                raise StateUnreadable(
                    f"the record of {name!r} in {self.file} cannot be read: {error}",
                    hint="nothing was changed; move the file away to start afresh",
                ) from error
        return found

    def save(self, record: Record) -> None:
        """Insert or replace one record.

        Raises:
            StateNotWritten: nothing was changed.
        """
        self._write(
            "INSERT INTO deployments VALUES (?, ?, ?) "
            "ON CONFLICT (name) DO UPDATE SET body = excluded.body",
            (record.name, record.created_at, _encode(record)),
        )

    def delete(self, name: str) -> None:
        self._write("DELETE FROM deployments WHERE name = ?", (name,))

    def _write(self, statement: str, values: tuple[object, ...]) -> None:
        try:
            self._db.execute(statement, values)
        except sqlite3.OperationalError as error:
            raise StateNotWritten(
                f"the state could not be written to {self.file}: {error}",
                hint="free some disk space and try again; nothing was changed",
            ) from error

    def close(self) -> None:
        self._db.close()
