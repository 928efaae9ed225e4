"""The second copy of each record: a small file of its own beside the database.

A record is written to the database first and copied then; it is removed here first. So a copy that
the database does not have, or has in an older form, says that the database has lost something,
though SQLite may find it in perfect order.
"""

from __future__ import annotations

import contextlib
import logging
import zlib
from pathlib import Path

import msgspec
from msgspec import Struct

from modeldeploy import paths
from modeldeploy.errors import UsageError

log = logging.getLogger(__name__)

_ENDING = ".record"


class Row(Struct, frozen=True):
    """A record as it lies on disk: ``body`` is its JSON in the shape of ``format``; of two with the
    same name that with the higher ``serial`` is the newer one."""

    format: int
    serial: int
    body: bytes


class _Named(Struct):
    name: str


def seal(body: bytes, *numbers: int) -> int:
    """What tells that neither has changed."""
    return zlib.crc32(" ".join(map(str, numbers)).encode() + b"\n" + body)


def name_of(body: bytes) -> str | None:
    """The name in a body of whichever format, or None where there is none."""
    try:
        return msgspec.json.decode(body, type=_Named).name
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


class Copies:
    """One file a record in ``folder``, made when there is one to write."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self) -> dict[str, Row]:
        """Every copy that is whole, by name."""
        found = {}
        for file in self._files():
            with contextlib.suppress(OSError):
                row = _parsed(file.read_bytes())
                if row and name_of(row.body) == file.stem:
                    found[file.stem] = row
                else:
                    log.warning("%s is damaged; it is made anew", file)
        return found

    def _files(self) -> list[Path]:
        return sorted(one for one in self._folder.glob(f"*{_ENDING}") if one.is_file())

    def write(self, name: str, row: Row) -> None:
        """It need not be durable, for what it is a copy of is; where it fails the one before stays."""
        file = self._file(name)
        unfinished = file.with_suffix(".new")
        head = f"{row.format} {row.serial} {seal(row.body, row.format, row.serial)}\n"
        try:
            paths.private_dir(self._folder)
            with open(unfinished, "wb", opener=paths.private_open) as out:
                out.write(head.encode() + row.body)
            unfinished.replace(file)
        except (OSError, UsageError) as error:
            log.warning("no second copy of %s's record: %s", name, error)

    def remove(self, name: str) -> None:
        """Durably: it must not come back when the database has forgotten it.

        Raises:
            OSError: it may still be there.
        """
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            self._file(name).unlink()
            paths.sync(self._folder)

    def make_equal(self, rows: dict[str, Row]) -> None:
        """Have a copy of each of ``rows`` and of nothing else."""
        known = self.read()
        for name, row in rows.items():
            if known.get(name) != row:
                self.write(name, row)
        for file in self._files():
            if file.stem not in rows:
                file.unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self._folder / f"{paths.check_name(name)}{_ENDING}"


def _parsed(raw: bytes) -> Row | None:
    head, _, body = raw.partition(b"\n")
    try:
        format_, serial, checksum = map(int, head.split(b" "))
    except ValueError:
        return None
    return Row(format_, serial, body) if seal(body, format_, serial) == checksum else None
