"""The supervisor process: one per home, however many are started at once."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from modeldeploy import lockfile, machine, paths
from modeldeploy.engines.base import Engine
from modeldeploy.engines.local import LocalEngine
from modeldeploy.engines.template import TemplateEngine
from modeldeploy.errors import Conflict
from modeldeploy.schema.deployment import HubAccess
from modeldeploy.settings import Settings
from modeldeploy.supervisor.api import ControlApi
from modeldeploy.supervisor.clock import Clock
from modeldeploy.supervisor.door import Door
from modeldeploy.supervisor.manager import Manager
from modeldeploy.supervisor.orphans import Orphans
from modeldeploy.supervisor.store import Store

log = logging.getLogger(__name__)

_LOCK_TRIES, _LOCK_PAUSE_SECONDS = 5, 0.02


class AlreadyRunning(Exception):
    """Another supervisor holds this home's lock."""


class Lock:
    """The home's lock. The kernel frees it however we end, so no file is ever stale.

    Raises:
        AlreadyRunning: somebody else holds it.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._fd = self._locked()

    def _locked(self) -> int:
        fd = paths.private_open(self._file, os.O_RDWR | os.O_CREAT)
        try:
            _flock(fd)
        except OSError as error:
            os.close(fd)
            raise AlreadyRunning(str(self._file)) from error
        os.ftruncate(fd, 0)
        os.write(fd, lockfile.introduction())
        return fd

    def keep(self) -> None:
        """Where its file was removed, hold another in its place.

        Raises:
            AlreadyRunning: somebody else was faster.
        """
        with contextlib.suppress(FileNotFoundError):
            if self._file.stat().st_ino == os.fstat(self._fd).st_ino:
                return
        before, self._fd = self._fd, self._locked()
        os.close(before)

    def free(self) -> None:
        os.close(self._fd)


def _flock(fd: int) -> None:
    """A client that looks who holds it holds it for a moment itself."""
    for _ in range(_LOCK_TRIES):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(_LOCK_PAUSE_SECONDS)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _engine(settings: Settings, on_ready: Callable[[], None]) -> Engine:
    if settings.warm_start and sys.platform == "linux":
        log_file = settings.paths.supervisor_log
        return TemplateEngine(settings.environment, machine.cores(), log_file, on_ready)
    return LocalEngine(settings.environment)


async def _serve(settings: Settings, store: Store, hub: HubAccess, lock: Lock) -> None:
    orders: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, orders.put_nowait, "drain")
    engine = _engine(settings, on_ready=lambda: manager.warmed())
    clock = Clock()
    ticking = asyncio.ensure_future(clock.keep())
    manager = Manager(settings, store, engine, clock, hub)
    manager.resume()
    manager.open_gateway()
    where = settings.paths
    orphans = Orphans(where, manager.live_replicas(), settings.drain_timeout)

    def make_room() -> None:
        where.make()
        try:
            lock.keep()
        except AlreadyRunning as error:  # the home is another's now, who has adopted the workers
            orders.put_nowait("keep")
            raise Conflict("another supervisor has this home now") from error

    app = ControlApi(manager, orders.put_nowait).app()
    door = Door(app, where.control_socket, make_room)
    log.info("supervising %s", where.home or where.state)
    order = await orders.get()
    log.info("ending; workers: %s", order)
    if order == "keep":
        await manager.let_go()
        orphans.let_go()
    else:
        await asyncio.gather(manager.drain(), orphans.end())
    engine.close()
    await door.close()
    ticking.cancel()


def run(settings: Settings, hub: HubAccess, open_store: Callable[[Path], Store] = Store) -> None:
    """Supervise until told to end.

    Raises:
        AlreadyRunning: another supervisor has this home.
        StateUnreadable: the state is not for this version to touch.
    """
    where = settings.paths.make()
    lock = Lock(where.lock)
    try:
        store = open_store(where.database)
        try:
            asyncio.run(_serve(settings, store, hub, lock))
        finally:
            store.close()
            if where.sockets != where.run:
                with contextlib.suppress(OSError):  # workers that go on serving have theirs there
                    where.sockets.rmdir()
    finally:
        lock.free()
