"""Reading logs: the last lines, since a time, and as they come, across rotation.

Workers write lines that begin with an RFC 3339 time in UTC; a line without one (a traceback, a
C library's last words) belongs to the line before it.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path

from modeldeploy.schema.control import LogLine

_STAMP = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?)Z ")
_POLL_SECONDS = 0.2
_TAIL_BYTES = 256 * 1024
MAX_ROTATED = 100


def _parse(raw: str, before: float) -> LogLine:
    text = raw.rstrip("\r\n")
    found = _STAMP.match(text)
    if not found:
        return LogLine(time=before, text=text)
    moment = datetime.fromisoformat(found.group(1)).replace(tzinfo=timezone.utc)
    return LogLine(time=moment.timestamp(), text=text[found.end() :])


def _files(log: Path) -> list[Path]:
    """The log and what was rotated out of it, oldest first."""
    rotated = [Path(f"{log}.{number}") for number in range(MAX_ROTATED, 0, -1)]
    return [file for file in [*rotated, log] if file.is_file()]


def _lines(files: list[Path]) -> Iterator[LogLine]:
    time = 0.0
    for file in files:
        with contextlib.suppress(FileNotFoundError), file.open("r", errors="replace") as opened:
            for raw in opened:
                line = _parse(raw, time)
                time = line.time
                yield line


def read(log: Path, tail: int | None = None, since: float | None = None) -> list[LogLine]:
    """The lines of a log, oldest first: the last ``tail`` of those not older than ``since``."""
    wanted = (line for line in _lines(_files(log)) if since is None or line.time >= since)
    return list(wanted if tail is None else deque(wanted, maxlen=tail))


def size(log: Path) -> int:
    """Bytes in the log now, 0 when there is none."""
    return _end_of(log)[0]


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
    log: Path, tail: int | None, since: float | None, ended: Callable[[], bool]
) -> AsyncIterator[LogLine]:
    """What :func:`read` gives, then every new line as it is written, until ``ended`` holds."""
    position, inode = _end_of(log)
    time = 0.0
    for line in await asyncio.to_thread(read, log, tail, since):
        time = line.time
        yield line
    buffered = b""
    while True:
        chunk, position, inode = await asyncio.to_thread(_read_on, log, position, inode)
        *whole, buffered = (buffered + chunk).split(b"\n")
        for raw in whole:
            line = _parse(raw.decode("utf-8", "replace"), time)
            time = line.time
            yield line
        if ended():
            return
        if not chunk:
            await asyncio.sleep(_POLL_SECONDS)


def _end_of(log: Path) -> tuple[int, int]:
    try:
        found = log.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_size, found.st_ino


def _read_on(log: Path, position: int, inode: int) -> tuple[bytes, int, int]:
    """What was appended since ``position`` of the file that was ``inode``: the rest of a rotated
    file first, then its successor from the start."""
    size, current = _end_of(log)
    if inode and current != inode:
        rest = _rest_of_rotated(log, position, inode)
        return rest, 0, current
    if size <= position:
        return b"", min(size, position), current
    with log.open("rb") as file:
        file.seek(position)
        chunk = file.read(_TAIL_BYTES)
    return chunk, position + len(chunk), current


def _rest_of_rotated(log: Path, position: int, inode: int) -> bytes:
    for file in reversed(_files(log)):
        if _end_of(file)[1] == inode:
            with file.open("rb") as opened:
                opened.seek(position)
                return opened.read()
    return b""
