"""Sessions that somebody has signed out of, remembered for as long as they would have been good."""

from __future__ import annotations

import contextlib
import logging
import time
from pathlib import Path

from modeldeploy.client.tickets import Statement
from modeldeploy.paths import private_open

log = logging.getLogger(__name__)


class Ended:
    """By their nonces, in memory and in ``file``, a line each, for the gateways beside and after this one."""

    def __init__(self, file: Path, seconds: float) -> None:
        self._file = file
        self._seconds = seconds
        self._version = _version(file)
        self._made_at = self._fresh(_read(file))
        if not self._made_at:
            file.unlink(missing_ok=True)

    def __contains__(self, nonce: str) -> bool:
        self._look()
        return nonce in self._made_at

    def _look(self) -> None:
        """A gateway that gives its socket up goes on for a while, and somebody may sign out there."""
        version = _version(self._file)
        if version != self._version:
            self._version = version
            self._made_at = self._fresh({**self._made_at, **_read(self._file)})

    def add(self, session: Statement) -> None:
        self._made_at = {**self._fresh(self._made_at), session.nonce: session.made_at}
        try:
            with open(self._file, "a", opener=private_open) as written:
                written.write(f"\n{session.nonce} {session.made_at}\n")  # behind half a line, too
        except OSError as error:
            log.warning("that a session has ended could not be written down: %s", error)

    def _fresh(self, made_at: dict[str, float]) -> dict[str, float]:
        oldest = time.time() - self._seconds
        return {nonce: at for nonce, at in made_at.items() if at >= oldest}


def _version(file: Path) -> tuple[int, int] | None:
    """What changes when it is written to."""
    with contextlib.suppress(OSError):
        status = file.stat()
        return status.st_mtime_ns, status.st_size
    return None


def _read(file: Path) -> dict[str, float]:
    found: dict[str, float] = {}
    with contextlib.suppress(OSError):
        for line in file.read_text("ascii", "replace").splitlines():
            nonce, _, at = line.partition(" ")
            with contextlib.suppress(ValueError):  # half a line, of a disk that was full
                found[nonce] = float(at)
    return found
