"""A state file that may be damaged: whether it is whole, what of it can still be read, and where it
is kept for whoever wants to look."""

from __future__ import annotations

import contextlib
import logging
import re
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from modeldeploy import paths
from modeldeploy.supervisor.copies import Row, name_of, seal
from modeldeploy.supervisor.migrations import MIGRATIONS, SEALED

log = logging.getLogger(__name__)

_BESIDE = ("-journal", "-wal", "-shm")
_BESIDE_ENDING = re.compile(rf"({'|'.join(_BESIDE)})\Z")
_MARK = ".damaged-"
# What SQLite says of the disk and of its neighbours; anything else is about what is in the file.
_OF_THE_DISK = (
    "is full",
    "locked",
    "disk I/O error",
    "unable to open",
    "readonly",
    "permission denied",
    "out of memory",
)


class Damaged(Exception):
    """The file is not what was written; the words say what is wrong with it."""


def is_of_the_disk(error: sqlite3.Error) -> bool:
    """Whether it says nothing about what is in the file."""
    return any(words in str(error) for words in _OF_THE_DISK)


def connect(file: Path) -> sqlite3.Connection:
    """With ``seal`` as a function of SQL, and names that are no UTF-8 read as far as they are."""
    db = sqlite3.connect(file, isolation_level=None, timeout=10)
    db.text_factory = lambda raw: raw.decode("utf-8", "replace")
    db.create_function("seal", 2, seal, deterministic=True)
    return db


def version_of(db: sqlite3.Connection) -> int:
    """
    Raises:
        Damaged: it is no file of SQLite's.
    """
    with _taking_errors_for_damage():
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def records(db: sqlite3.Connection, version: int) -> dict[str, Row]:
    """Every record of a file of that format, by name.

    Raises:
        Damaged: the file is not of that format, or not whole in every record.
    """
    if version < 1:
        raise Damaged(f"there is no format {version}")
    found = {}
    with _taking_errors_for_damage():
        verdict = db.execute("PRAGMA integrity_check").fetchone()[0]
        if verdict != "ok":
            raise Damaged(str(verdict).splitlines()[-1])
        if _has_seals(db) != (version >= SEALED):
            raise Damaged(f"it is not of format {version}")
        for name, row in _rows(db, version):
            if row is None or name_of(row.body) != name:
                raise Damaged(f"the record of {name!r} is not as it was written")
            found[name] = row
    return found


@contextlib.contextmanager
def _taking_errors_for_damage() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        if is_of_the_disk(error):
            raise
        raise Damaged(str(error)) from error


def _has_seals(db: sqlite3.Connection) -> bool:
    """
    Raises:
        Damaged: there is no table of records.
    """
    columns = [column[1] for column in db.execute("PRAGMA table_info(deployments)")]
    if columns[:3] != ["name", "created_at", "body"]:
        raise Damaged("there is no table of records")
    return columns[3:] == ["serial", "checksum"]


def _rows(db: sqlite3.Connection, version: int) -> Iterator[tuple[str, Row | None]]:
    """Each row's name and record, None for one that has changed."""
    seals = "serial, checksum" if version >= SEALED else "0, NULL"
    cursor = db.execute(f"SELECT name, body, {seals} FROM deployments NOT INDEXED")  # noqa: S608 - ours
    for name, body, serial, checksum in cursor:
        whole = checksum in (None, seal(body, serial)) and name_of(body)
        yield str(name), Row(version, serial, body) if whole else None


def what_is_left(file: Path) -> dict[str, Row]:
    """The records of a damaged file that are whole, by the names in them, as far as it can be read."""
    found: dict[str, Row] = {}
    if file.is_file():
        with contextlib.closing(connect(file)) as db, contextlib.suppress(sqlite3.Error, Damaged):
            newest = len(MIGRATIONS) if _has_seals(db) else SEALED - 1
            version = version_of(db)
            for _, row in _rows(db, version if 1 <= version <= newest else newest):
                if row:
                    found[name_of(row.body) or ""] = row
    return found


def images(file: Path) -> dict[str, bytes]:
    """The file and what SQLite keeps beside it, by their endings, before SQLite touches them. What lies
    beside it and is no file is put away: SQLite would wait for it, or fail.

    Raises:
        OSError: they cannot be read now.
    """
    found = {}
    for ending in ("", *_BESIDE):
        one = Path(f"{file}{ending}")
        if ending:
            put_away(one)
        if one.is_file():
            found[ending] = one.read_bytes()
    return found


def put_away(one: Path) -> None:
    """What is no file, and lies where one of ours belongs.

    Raises:
        OSError: it stays.
    """
    if one.exists() and not one.is_file():
        aside = _unused(one)
        one.rename(aside)
        log.warning("%s is no file: it is at %s now", one, aside)


def keep(file: Path, before: dict[str, bytes]) -> Path | None:
    """Where what was found is kept, under a name that says what it is; ``file`` itself stays until it
    is replaced, unless it is no file. None where there was nothing."""
    aside = _unused(file)
    if file.is_dir():
        file.rename(aside)
    for ending, content in before.items():
        if content or not ending:
            with open(f"{aside}{ending}", "wb", opener=paths.private_open) as out:
                out.write(content)
    for ending in _BESIDE:
        Path(f"{file}{ending}").unlink(missing_ok=True)
    return aside if aside.exists() or any(before.values()) else None


def _unused(file: Path) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    names = (f"{file.name}{_MARK}{stamp}{more}" for more in ("", *map("-{}".format, range(1000))))
    return next(aside for aside in map(file.with_name, names) if not aside.exists())


def kept(file: Path) -> list[Path]:
    """Whatever was ever set aside, and lies there still."""
    found = file.parent.glob(f"{file.name}{_MARK}*")
    return sorted({one.with_name(_BESIDE_ENDING.sub("", one.name)) for one in found})
