"""What we remember about one model in the cache: its listings, and which blobs were verified.

It lies beside ``blobs/`` and ``snapshots/`` and is only a memory: losing it costs a request and a
second reading of the files, never correctness.
"""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

import msgspec
from msgspec import Struct, field

from modeldeploy.hub.listing import Listing
from modeldeploy.hub.untrusted import decode

VERSION = 1
_log = logging.getLogger(__name__)


class Seen(Struct, frozen=True, array_like=True):
    """The file whose content was hashed: a change of any of the three means hashing again."""

    size: int
    mtime_ns: int
    inode: int


class Record(Struct, kw_only=True):
    version: int = VERSION
    listings: dict[str, Listing] = field(default_factory=dict)
    verified: dict[str, Seen] = field(default_factory=dict)

    def knows(self, etag: str, blob: Path) -> bool:
        """Whether ``blob`` is the very file that was once found to hold ``etag``'s content."""
        return self.verified.get(etag) == _seen(blob)

    def mark(self, etag: str, blob: Path) -> None:
        self.verified[etag] = _seen(blob)


def _seen(blob: Path) -> Seen:
    found = blob.stat()
    return Seen(found.st_size, found.st_mtime_ns, found.st_ino)


def load(file: Path) -> Record:
    """The record, or an empty one where there is none that this version can read."""
    try:
        record = decode(file.read_bytes(), Record)
    except (OSError, msgspec.DecodeError):
        return Record()
    return record if record.version == VERSION else Record()


def save(file: Path, record: Record) -> None:
    """Write it whole or not at all; a read-only or full disk does not fail the fetch."""
    temporary = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(record)))
        temporary.replace(file)
    except OSError as error:
        _log.warning("could not remember what was verified: %s", error)
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
