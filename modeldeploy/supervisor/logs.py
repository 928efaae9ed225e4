"""Reading logs: the last lines, since a time, after a line, and as they come, across rotation.

Workers write lines that begin with an RFC 3339 time in UTC; a line without one (a traceback, a
C library's last words) belongs to the line before it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import zlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import BinaryIO, NamedTuple

from modeldeploy.schema.control import LogLine

_STAMP = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?)Z ")
_PLACE = re.compile(r"[0-9a-f]{1,16}(-[0-9a-f]{1,15}){3}")
_POLL_SECONDS = 0.2
_TAIL_BYTES = 256 * 1024
MAX_ROTATED = 100


class Place(NamedTuple):
    """The end of a line: in which file, after how many bytes; the line's checksum, because a number of a
    file may be given to another; and its time, in microseconds."""

    inode: int
    offset: int
    check: int
    moment: int

    def __str__(self) -> str:
        return "-".join(f"{number:x}" for number in self)

    @classmethod
    def of(cls, text: str) -> Place:
        """
        Raises:
            ValueError
        """
        if not _PLACE.fullmatch(text):
            raise ValueError(f"{text!r} is not the position of a line")
        return cls(*(int(part, 16) for part in text.split("-")))


class _Reader:
    """Goes through a log's lines, those that were rotated out first, each once; begins after
    ``place``, or with the oldest line where that is gone."""

    def __init__(self, log: Path, place: Place | None) -> None:
        self._log = log
        self._inode = self._offset = 0
        self._time = 0.0
        if place and _is_there(log, place):
            self._inode, self._offset = place.inode, place.offset
            self._time = place.moment / 1e6

    def chosen(
        self, *, last: bool, tail: int | None = None, since: float | None = None
    ) -> list[LogLine]:
        """Of :meth:`lines` the last ``tail`` of those not older than ``since``."""
        wanted = (line for line in self.lines(last=last) if since is None or line.time >= since)
        return list(wanted if tail is None else deque(wanted, maxlen=tail))

    def lines(self, *, last: bool) -> Iterator[LogLine]:
        """What was written since it was asked before. A line that has no end yet is given only where
        it is the ``last``, for nobody writes any more."""
        with contextlib.ExitStack() as stack:
            files = self._unread(stack)
            for inode, file in files:
                if inode != self._inode:
                    self._inode, self._offset = inode, 0
                is_written = inode == files[-1][0] and not last
                self._offset = file.seek(min(self._offset, file.seek(0, os.SEEK_END)))
                for raw in file:
                    if is_written and not raw.endswith(b"\n"):
                        break
                    yield self._line(raw)

    def _unread(self, stack: contextlib.ExitStack) -> list[tuple[int, BinaryIO]]:
        """The files from the one that is read on, oldest first, open. They are opened youngest first:
        one that is rotated meanwhile is met again, not missed."""
        found: dict[int, BinaryIO] = {}
        for path in _paths(self._log):
            with contextlib.suppress(FileNotFoundError):
                file = stack.enter_context(path.open("rb"))
                found.setdefault(_inode(file), file)
            if self._inode in found:
                break
        return list(reversed(found.items()))

    def _line(self, raw: bytes) -> LogLine:
        self._offset += len(raw)
        text = raw.decode("utf-8", "replace").rstrip("\r\n")
        found = _STAMP.match(text)
        if found:
            moment = datetime.fromisoformat(found.group(1)).replace(tzinfo=timezone.utc)
            self._time = moment.timestamp()
        place = Place(self._inode, self._offset, zlib.crc32(raw), round(self._time * 1e6))
        return LogLine(
            time=self._time, text=text[found.end() if found else 0 :], position=str(place)
        )


def _is_there(log: Path, place: Place) -> bool:
    """Whether the line that ended there still does."""
    for path in _paths(log):
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            if _inode(file) == place.inode:
                if place.offset > file.seek(0, os.SEEK_END):
                    return False
                file.seek(max(0, place.offset - _TAIL_BYTES))
                before = file.read(place.offset - file.tell())
                line = before[before.rfind(b"\n", 0, -1) + 1 :]
                return file.tell() == place.offset and zlib.crc32(line) == place.check
    return False


def _paths(log: Path) -> Iterator[Path]:
    """The log and what was rotated out of it, the youngest first."""
    yield log
    for number in range(1, MAX_ROTATED + 1):
        rotated = Path(f"{log}.{number}")
        if not rotated.is_file():
            return
        yield rotated


def _inode(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_ino


def read(
    log: Path,
    tail: int | None = None,
    since: float | None = None,
    after: Place | None = None,
    *,
    last: bool = True,
) -> list[LogLine]:
    """The lines of a log, oldest first: the last ``tail`` of those not older than ``since`` and after
    that place; a line that has no end yet only where it is the ``last``."""
    return _Reader(log, after).chosen(last=last, tail=tail, since=since)


def size(log: Path) -> int:
    """Bytes in the log now, 0 when there is none."""
    try:
        return log.stat().st_size
    except FileNotFoundError:
        return 0


def last_lines(log: Path, count: int, start: int = 0) -> list[str]:
    """The last lines of a log as text, from its last 256 KiB and not from before ``start``
    (a byte, unless the log was rotated since)."""
    try:
        with log.open("rb") as file:
            end = file.seek(0, 2)
            file.seek(max(0, start if start <= end else 0, end - _TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    return lines[-count:]


async def follow(
    log: Path,
    tail: int | None,
    since: float | None,
    ended: Callable[[], bool],
    after: Place | None = None,
) -> AsyncIterator[LogLine]:
    """What :func:`read` gives, then every new line as it is written, until ``ended`` holds."""
    reader = await asyncio.to_thread(_Reader, log, after)
    is_over = ended()
    found = await asyncio.to_thread(reader.chosen, last=is_over, tail=tail, since=since)
    while True:
        for line in found:
            yield line
        if is_over:
            return
        is_over = ended()  # before the look, which then finds all that was written
        if not found and not is_over:
            await asyncio.sleep(_POLL_SECONDS)
        found = await asyncio.to_thread(reader.chosen, last=is_over)
