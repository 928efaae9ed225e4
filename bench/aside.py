"""A measurement in a process of its own, asked again and again: a line to its stdin, a number from its stdout."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence


class Aside:
    """``python`` with these arguments. It prints a line when it is ready, and then for each line
    that it reads a number."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def ask(self, *words: object) -> float:
        """The number that it gives for these words."""
        assert self._process.stdin is not None
        print(*words, file=self._process.stdin, flush=True)
        return float(self._line())

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
