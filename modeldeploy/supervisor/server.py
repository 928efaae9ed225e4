"""The supervisor process: one per home, however many are started at once."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from modeldeploy import paths
from modeldeploy.engines.base import Engine
from modeldeploy.engines.local import LocalEngine
from modeldeploy.engines.template import TemplateEngine
from modeldeploy.schema.deployment import HubAccess
from modeldeploy.settings import Settings
from modeldeploy.supervisor.api import ControlApi
from modeldeploy.supervisor.manager import Manager
from modeldeploy.supervisor.store import Store
from modeldeploy.supervisor.surroundings import cores
from modeldeploy.transport import private_listener
from modeldeploy.web import servers

log = logging.getLogger(__name__)

_CLOSE_SECONDS = 2.0


class AlreadyRunning(Exception):
    """Another supervisor holds this home's lock."""


@contextlib.contextmanager
def _lock(file: Path) -> Iterator[None]:
    """Hold the home's lock. The kernel frees it however we end, so no file is ever stale.

    Raises:
        AlreadyRunning: somebody else holds it.
    """
    fd = paths.private_open(file, os.O_RDWR | os.O_CREAT)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise AlreadyRunning(str(file)) from error
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(fd)


def _sweep(where: paths.Paths, live: set[str]) -> None:
    """Remove what dead workers left: their sockets and their orders."""
    for directory in {where.run, where.sockets}:
        for file in directory.glob("worker-*"):
            if file.stem.removeprefix("worker-") not in live:
                file.unlink(missing_ok=True)


def _engine(settings: Settings, on_ready: Callable[[], None]) -> Engine:
    if settings.warm_start and sys.platform == "linux":
        log_file = settings.paths.supervisor_log
        return TemplateEngine(settings.environment, cores(), log_file, on_ready)
    return LocalEngine(settings.environment)


async def _serve(settings: Settings, store: Store, hub: HubAccess) -> None:
    orders: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, orders.put_nowait, "drain")
    engine = _engine(settings, on_ready=lambda: manager.kick())
    manager = Manager(settings, store, engine, hub)
    manager.resume()
    manager.open_gateway()
    where = settings.paths
    _sweep(where, manager.live_replicas())
    app = ControlApi(manager, orders.put_nowait).app()
    server = servers.server(app, _CLOSE_SECONDS, private=True)
    serving = asyncio.ensure_future(server.serve([private_listener(where.control_socket)]))
    log.info("supervising %s", where.home or where.state)
    order = await orders.get()
    log.info("ending; workers: %s", order)
    if order == "keep":
        manager.let_go()
    else:
        await manager.drain()
    engine.close()
    server.should_exit = True
    await serving
    where.control_socket.unlink(missing_ok=True)


def run(settings: Settings, hub: HubAccess, open_store: Callable[[Path], Store] = Store) -> None:
    """Supervise until told to end.

    Raises:
        AlreadyRunning: another supervisor has this home.
        StateUnreadable: the state is not for this version to touch.
    """
    where = settings.paths.make()
    with _lock(where.lock):
        store = open_store(where.database)
        try:
            asyncio.run(_serve(settings, store, hub))
        finally:
            store.close()
            if where.sockets != where.run:
                with contextlib.suppress(OSError):  # workers that go on serving have theirs there
                    where.sockets.rmdir()
