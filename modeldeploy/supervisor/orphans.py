"""Workers that live and are on no record: they are ended like any other, and only then is what lies
there of them removed, so that nobody serves whom nobody can find."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from functools import partial
from pathlib import Path

from modeldeploy.paths import Paths
from modeldeploy.supervisor import links, processes
from modeldeploy.supervisor.processes import Identity

log = logging.getLogger(__name__)

_MARGIN_SECONDS = 5.0
_DEATH_SECONDS = 5.0
_PREFIX = "worker-"


class Orphans:
    """Asked to answer what they have and end as soon as this is made, in the event loop; killed when
    ``drain_timeout`` is over. ``known`` are the replicas that are on record."""

    def __init__(self, where: Paths, known: set[str], drain_timeout: float) -> None:
        self._where = where
        self._left: dict[str, Identity] = {}
        for replica in sorted(_mentioned(where) - known):
            identity = _alive(where.worker_socket(replica))
            if identity is None:
                self._remove(replica)
                continue
            log.warning("a worker (pid %d) is on no record: it is ended", identity.pid)
            self._left[replica] = identity
            processes.kill_group(identity, signal.SIGTERM)
        loop = asyncio.get_running_loop()
        self._ends = loop.time() + drain_timeout + _MARGIN_SECONDS
        self._timer = loop.call_at(self._ends, self._kill)
        self._none_left = asyncio.Event()
        self._watches = [
            processes.watch(identity, partial(self._ended, replica))
            for replica, identity in self._left.items()
        ]

    def _kill(self) -> None:
        for identity in self._left.values():
            processes.kill_group(identity)

    def _ended(self, replica: str) -> None:
        processes.kill_group(self._left.pop(replica))  # what it started must not outlive it
        self._remove(replica)
        if not self._left:
            self._none_left.set()

    def _remove(self, replica: str) -> None:
        for file in _files(self._where, f"{_PREFIX}{replica}.*"):
            file.unlink(missing_ok=True)

    def let_go(self) -> None:
        """Leave them to the next supervisor."""
        self._timer.cancel()
        for stop in self._watches:
            stop()

    async def end(self) -> None:
        """Have none left when they had their time."""
        time_left = self._ends - asyncio.get_running_loop().time()
        if self._left:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._none_left.wait(), time_left)
        self.let_go()
        self._kill()
        for replica, identity in self._left.items():
            await asyncio.to_thread(processes.wait_end, identity, _DEATH_SECONDS)
            self._remove(replica)


def _files(where: Paths, pattern: str) -> list[Path]:
    return [file for folder in {where.run, where.sockets} for file in folder.glob(pattern)]


def _mentioned(where: Paths) -> set[str]:
    return {file.stem.removeprefix(_PREFIX) for file in _files(where, f"{_PREFIX}*")}


def _alive(socket: Path) -> Identity | None:
    """Who listens there, be it that it hears nothing any more."""
    pid = links.ask_pid(socket)
    return processes.identify(pid) if pid else None
