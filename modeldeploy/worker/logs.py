"""The worker's own log: one line a record, rotated by itself, never a reason to stop serving."""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import io
import logging
import os
import sys
import threading
import time
from datetime import datetime, timezone
from pathlib import Path

from modeldeploy.paths import private_open

_REQUESTS = "modeldeploy.worker.http.app"  # the logger that has a line for each of them
_LOOK_SECONDS = 1.0
_HELD_SECONDS = 0.1
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT


class _Line(logging.Formatter):
    """``2026-11-24T02:11:05.123456Z LEVEL logger: message``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._second = (0, "")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802  # the base class's name
        whole, part = divmod(record.created, 1)
        second, text = self._second
        if second != whole:
            moment = datetime.fromtimestamp(whole, timezone.utc)
            text = moment.strftime("%Y-%m-%dT%H:%M:%S")
            self._second = (int(whole), text)
        return f"{text}.{int(part * 1e6):06d}Z"


class _Lines(logging.Handler):
    """Writes records to a stream; those of requests that were answered a little later, together:
    each write gives Python's lock to other threads."""

    def __init__(self, stream: io.TextIOBase) -> None:
        super().__init__()
        self._stream = stream
        self._held: list[str] = []
        self._some = threading.Event()
        threading.Thread(target=self._write_held, name="log-lines", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # as every handler has it: a log line is never a reason to fail
            self.handleError(record)
            return
        self._held.append(line + "\n")
        if record.name != _REQUESTS or record.levelno > logging.INFO:
            self.flush()
        elif len(self._held) == 1:
            self._some.set()

    def flush(self) -> None:
        with self.lock or contextlib.nullcontext():
            lines, self._held = self._held, []
            if lines:
                self._stream.write("".join(lines))

    def _write_held(self) -> None:
        while self._some.wait():
            self._some.clear()
            time.sleep(_HELD_SECONDS)
            self.flush()


class _Standard(io.TextIOBase):
    """A standard stream that drops what a full disk does not take."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        return self._fd

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            os.write(self._fd, text.encode("utf-8", "backslashreplace"))
        return len(text)


def set_up() -> None:
    """Send every record, warning and stray print to the standard streams, guarded."""
    sys.stdout, sys.stderr = _Standard(1), _Standard(2)
    logging.raiseExceptions = False
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False  # not in a line
    logging._srcfile = None  # noqa: SLF001  # nor the place: the logging HOWTO's way
    handler = _Lines(sys.stderr)
    handler.setFormatter(_Line())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    faulthandler.enable(file=2)


class Rotation:
    """Keeps ``file`` under ``max_bytes``, and ``kept`` older ones beside it (``.1`` the youngest).

    Two workers of one deployment may share the file while one replaces the other: the file's
    lock makes one of them rotate, and the other follows.
    """

    def __init__(self, file: Path, max_bytes: int, kept: int) -> None:
        self._file = file
        self._max_bytes = max_bytes
        self._kept = kept

    def start(self) -> None:
        threading.Thread(target=self._watch, name="log-rotation", daemon=True).start()

    def _watch(self) -> None:
        while True:
            time.sleep(_LOOK_SECONDS)
            with contextlib.suppress(OSError):  # a full disk stops logs, not serving
                self.look()

    def look(self) -> None:
        """Rotate if the file has grown too large; follow if another has rotated it."""
        try:
            there = self._file.stat()
        except FileNotFoundError:
            self._reopen()
            return
        if not os.path.samestat(there, os.fstat(2)):
            self._reopen()
        elif there.st_size > self._max_bytes:
            self._rotate()

    def _rotate(self) -> None:
        try:
            fcntl.flock(2, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return
        # The lock lies on the open file, so it goes with the descriptor that _reopen replaces.
        if os.path.samestat(self._file.stat(), os.fstat(2)):
            self._shift()
        self._reopen()

    def _shift(self) -> None:
        self._numbered(self._kept).unlink(missing_ok=True)
        for number in range(self._kept - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                self._numbered(number).rename(self._numbered(number + 1))
        if self._kept:
            self._file.rename(self._numbered(1))
        else:
            self._file.unlink()

    def _numbered(self, number: int) -> Path:
        return self._file.with_name(f"{self._file.name}.{number}")

    def _reopen(self) -> None:
        fd = private_open(self._file, _APPEND)
        try:
            os.dup2(fd, 1)
            os.dup2(fd, 2)
        finally:
            os.close(fd)
