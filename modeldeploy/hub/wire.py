"""The fetcher's end of its pipes: one request in, lines out, the first ending wins."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from msgspec.structs import replace

from modeldeploy.hub.secrets import Redactor
from modeldeploy.schema.fetch import FetchEnding, FetchFailed, FetchLine, FetchProgress
from modeldeploy.schema.problem import Problem
from modeldeploy.schema.stages import Stage

_INTERVAL = 0.1
_CHARACTERS, _DETAILS = 2000, 50


@dataclass
class Wire:
    """Whole lines on a file descriptor, from any thread; none after the ending."""

    fd: int
    redact: Redactor
    _ended: bool = False

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def send(self, line: FetchLine) -> None:
        with self._lock:
            if not self._ended:
                self._write(line)

    def end(self, line: FetchEnding) -> bool:
        """Send the last line; False if another thread has ended the conversation already."""
        with self._lock:
            if self._ended:
                return False
            self._ended = True
            self._write(line)
            return True

    def _write(self, line: FetchLine) -> None:
        left = memoryview(msgspec.json.encode(self._clean(line)) + b"\n")
        while left:
            left = left[os.write(self.fd, left) :]

    def _clean(self, line: FetchLine) -> FetchLine:
        """Without secrets, and as short as whoever reads it expects: words may quote a model's."""
        if isinstance(line, FetchProgress):
            return replace(line, message=_short(line.message))
        if not isinstance(line, FetchFailed):
            return line
        problem = line.problem
        return FetchFailed(
            problem=Problem(
                code=problem.code,
                message=_short(self.redact(problem.message)),
                hint=_short(self.redact(problem.hint)),
                details=[_short(self.redact(detail)) for detail in problem.details[-_DETAILS:]],
            )
        )


def _short(words: str) -> str:
    return words if len(words) <= _CHARACTERS else f"{words[:_CHARACTERS]}…"


class Reporter:
    """Progress as it is worth telling: every news at once, mere bytes ten times a second."""

    def __init__(
        self, send: Callable[[FetchLine], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._send = send
        self._clock = clock
        self._last_sent = float("-inf")
        self.last = FetchProgress(stage=Stage.VALIDATE, fraction=0.0, message="")

    def say(
        self, stage: Stage, fraction: float, message: str, done: int = 0, total: int = 0
    ) -> None:
        """Tell it now."""
        self.last = FetchProgress(
            stage=stage,
            fraction=fraction,
            message=message,
            done_bytes=done,
            total_bytes=total,
        )
        self._last_sent = self._clock()
        self._send(self.last)

    def tick(
        self, stage: Stage, fraction: float, message: str, done: int = 0, total: int = 0
    ) -> None:
        """Tell it if it is new and the last was told long enough ago."""
        if self._clock() - self._last_sent < _INTERVAL:
            return
        if (self.last.stage, self.last.fraction, self.last.message) != (stage, fraction, message):
            self.say(stage, fraction, message, done, total)
