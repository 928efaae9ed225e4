"""State on disk: SQLite, whole or not at all, never overwritten when it is damaged or newer."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import msgspec

from modeldeploy import paths
from modeldeploy.errors import ModelDeployError, StateUnreadable
from modeldeploy.supervisor import salvage
from modeldeploy.supervisor.copies import Copies, Row, seal
from modeldeploy.supervisor.migrations import MIGRATIONS, SEAL, SEALED
from modeldeploy.supervisor.record import Record
from modeldeploy.supervisor.salvage import Damaged

log = logging.getLogger(__name__)

# Of somebody else's lock on the file, while the supervisor does nothing else; it tries again later.
_BUSY_MILLISECONDS = 200

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Record).decode


class StateNotWritten(ModelDeployError):
    """The disk refused; what was there before is still there."""

    code, status = "state_not_written", 507


class Store:
    """The deployments of one instance. One writer: the supervisor that holds the lock.

    Each save is one transaction with ``synchronous=FULL`` and a rollback journal: after a kill -9 or
    a full disk the old record is there or the new one, in the one file. Each record carries a
    checksum, and has a second copy (:mod:`~modeldeploy.supervisor.copies`). A file that is damaged,
    that lost what there are copies of, or that is gone, is set aside and made anew of what is whole.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.set_aside: Path | None = None
        self._serial = self._inode = 0
        self._copies = Copies(Path(f"{file}.copies"))
        self._db = self._open()

    def _open(self) -> sqlite3.Connection:
        """
        Raises:
            StateUnreadable: it is of a newer version, or the disk does not let us.
        """
        try:
            before, copies = salvage.images(self.file), self._copies.read()
            if not before and not copies and not self.file.exists():
                self._make([])
            try:
                return self._opened(copies)
            except Damaged as error:
                self._recover(before, copies, str(error))
                return self._opened({})
        except (OSError, sqlite3.Error) as error:
            if isinstance(error, sqlite3.Error) and not salvage.is_of_the_disk(error):
                raise  # a step between formats that fails is a mistake of ours
            raise StateUnreadable(
                f"the state in {self.file} cannot be opened: {error}",
                hint="nothing was changed; see whether the disk is full, or may not be written to",
            ) from error

    def _opened(self, copies: dict[str, Row]) -> sqlite3.Connection:
        """
        Raises:
            Damaged: the file is not what was written last.
        """
        if not self.file.is_file() or not self.file.stat().st_size:
            raise Damaged("there is no file with anything in it")
        db = salvage.connect(self.file)
        try:
            version = self._known_version(db)  # first: a newer file is not touched at all
            salvage.records(db, version)
            db.execute("PRAGMA journal_mode=TRUNCATE")
            db.execute("PRAGMA synchronous=FULL")
            db.execute(f"PRAGMA busy_timeout={_BUSY_MILLISECONDS}")
            for number in range(version + 1, len(MIGRATIONS) + 1):
                _step(db, number, [])
            rows = salvage.records(db, len(MIGRATIONS))
            _compare(rows, copies)
            _read_all(rows)
        except BaseException:  # whatever it was, the connection must not leak
            db.close()
            raise
        self._copies.make_equal(rows)
        self._inode = self.file.stat().st_ino
        self._serial = max((row.serial for row in rows.values()), default=0)
        return db

    def _known_version(self, db: sqlite3.Connection) -> int:
        version = salvage.version_of(db)
        self._refuse_newer(version)
        return version

    def _refuse_newer(self, version: int) -> None:
        """
        Raises:
            StateUnreadable: ``version`` is none that we know.
        """
        if version > len(MIGRATIONS):
            raise StateUnreadable(
                f"{self.file} was written by a newer modeldeploy (format {version}; "
                f"this one knows {len(MIGRATIONS)})",
                hint="upgrade modeldeploy, or set MODELDEPLOY_HOME to another directory",
            )

    def _recover(self, before: dict[str, bytes], copies: dict[str, Row], why: str) -> None:
        """Set the file aside and make one of what is whole in it or has a copy.

        Raises:
            StateUnreadable: a copy is of a newer version; nothing was changed.
        """
        for copy in copies.values():
            self._refuse_newer(copy.format)
        rows = salvage.what_is_left(self.file)
        for name, row in copies.items():
            if name not in rows or rows[name].serial < row.serial:
                rows[name] = row
        self.set_aside = salvage.keep(self.file, before) or self.set_aside
        self._make(rows.values())
        log.error(
            "the state was damaged (%s); %s; of its deployments these were whole: %s",
            why,
            f"it is kept at {self.set_aside}" if self.set_aside else "nothing of it was left",
            ", ".join(sorted(rows)) or "none",
        )

    def _make(self, rows: Iterable[Row]) -> None:
        """A file with these records, in place of what there is: whole, or not at all."""
        unfinished = self.file.with_name(f"{self.file.name}.new")
        for left in (unfinished, Path(f"{unfinished}-journal")):
            salvage.put_away(left)
            left.unlink(missing_ok=True)
        os.close(paths.private_open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        with contextlib.closing(salvage.connect(unfinished)) as db:
            for number in range(1, len(MIGRATIONS) + 1):
                _step(db, number, [row for row in rows if row.format == number])
            for name, body in db.execute("SELECT name, body FROM deployments").fetchall():
                if _record(body) is None:
                    log.error("the record of %s makes no sense, and is left out", name)
                    db.execute("DELETE FROM deployments WHERE name = ?", (name,))
        unfinished.replace(self.file)
        paths.sync(self.file.parent)

    def records(self) -> list[Record]:
        """All deployments, oldest first."""
        bodies = self._db.execute("SELECT body FROM deployments")
        found = [record for (body,) in bodies if (record := _record(body))]
        return sorted(found, key=lambda record: (record.created_at, record.name))

    def save(self, record: Record) -> None:
        """Insert or replace one record.

        Raises:
            StateNotWritten: nothing was changed.
        """
        body, serial = _encode(record), self._serial + 1
        self._write(
            "INSERT INTO deployments VALUES (?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
            "body = excluded.body, serial = excluded.serial, checksum = excluded.checksum",
            (record.name, record.created_at, body, serial, seal(body, serial)),
        )
        self._serial = serial
        self._copies.write(record.name, Row(len(MIGRATIONS), serial, body))

    def delete(self, name: str) -> None:
        """
        Raises:
            StateNotWritten: it is there still.
        """
        try:
            self._copies.remove(name)
        except OSError as error:
            raise self._not_written(error) from error
        self._write("DELETE FROM deployments WHERE name = ?", (name,))

    def _write(self, statement: str, values: tuple[object, ...]) -> None:
        try:
            self._db.execute(statement, values)
        except sqlite3.Error as error:
            if salvage.is_of_the_disk(error) and self._is_in_place():
                raise self._not_written(error) from error
            self._write_anew(statement, values)

    def _is_in_place(self) -> bool:
        """Whether the file that we write is still the one with that name."""
        with contextlib.suppress(FileNotFoundError):
            return self.file.stat().st_ino == self._inode
        return False

    def _write_anew(self, statement: str, values: tuple[object, ...]) -> None:
        """The file was damaged, or removed, under us: what is whole is taken over into another."""
        self._db.close()
        try:
            self._db = self._open()
            self._db.execute(statement, values)
        except (sqlite3.Error, StateUnreadable) as error:
            raise self._not_written(error) from error

    def _not_written(self, error: Exception) -> StateNotWritten:
        what = (
            "end what else has the file open" if "locked" in str(error) else "free some disk space"
        )
        return StateNotWritten(
            f"the state could not be written to {self.file}: {error}",
            hint=f"{what} and try again; nothing was changed",
        )

    @property
    def kept(self) -> list[Path]:
        """Every damaged state that was ever set aside here, and lies there still."""
        return salvage.kept(self.file)

    def close(self) -> None:
        self._db.close()


_OF_BODY = (
    "json_extract(CAST(:body AS TEXT), '$.name'), "
    "CAST(coalesce(json_extract(CAST(:body AS TEXT), '$.created_at'), 0) AS REAL), :body"
)


def _step(db: sqlite3.Connection, number: int, rows: Iterable[Row]) -> None:
    """To format ``number`` from the one before, with more records that are of that format already."""
    db.executescript(f"BEGIN IMMEDIATE; {MIGRATIONS[number - 1]}")
    seals, of_row = (", serial, checksum", ", :serial, 0") if number >= SEALED else ("", "")
    insert = f"INSERT INTO deployments (name, created_at, body{seals}) VALUES ({_OF_BODY}{of_row})"  # noqa: S608 - ours
    for row in rows:
        db.execute(insert, {"body": row.body, "serial": row.serial})
    if number >= SEALED:
        db.execute(SEAL)
    db.execute(f"PRAGMA user_version={number}")
    db.execute("COMMIT")


def _compare(rows: dict[str, Row], copies: dict[str, Row]) -> None:
    """
    Raises:
        Damaged: there are copies of what the file has lost.
    """
    for name, copy in copies.items():
        if name not in rows or rows[name].serial < copy.serial:
            raise Damaged(f"it has lost the latest record of {name!r}")


def _read_all(rows: dict[str, Row]) -> None:
    """
    Raises:
        Damaged: a record makes no sense.
    """
    for name, row in rows.items():
        if _record(row.body) is None:
            raise Damaged(f"the record of {name!r} makes no sense")


def _record(body: bytes) -> Record | None:
    """None for what this version cannot read, whole though it is."""
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
