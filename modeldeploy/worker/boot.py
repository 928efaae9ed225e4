"""A worker's life: its sockets answer first, then the model is loaded, then it is told to end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
import uvloop

from modeldeploy import handover
from modeldeploy.schema.worker import WorkerSpec
from modeldeploy.transport import LEASH_FD, LISTEN_FD, private_listener
from modeldeploy.web import servers
from modeldeploy.worker import improving, loader, logs, privileges
from modeldeploy.worker.http.app import PublicApp
from modeldeploy.worker.http.insider import insider_app
from modeldeploy.worker.http.service import Service
from modeldeploy.worker.state import WorkerState

log = logging.getLogger(__name__)

_UNHEARD_SECONDS = 60.0
_INSIDER_SECONDS = 1
_TICK = 0.01


def main(arguments: list[str]) -> int:
    """Serve as the spec in ``arguments[1]`` says; the engine left the listening socket open."""
    leash = os.environ.pop(LEASH_FD, None)
    return run(arguments[1], int(os.environ.pop(LISTEN_FD)), int(leash) if leash else None)


def run(spec_file: str, listen_fd: int, leash: int | None = None) -> int:
    """Serve as the spec says, until told to end. Does not return normally: threads of foreign
    libraries must not see the interpreter go down around them.

    ``leash`` is the end of a pipe on which the supervisor says that we are on record; if it dies
    before, nobody knows of us, and we end too."""
    if leash is not None and not _is_on_record(leash):
        return 1
    spec = msgspec.json.decode(Path(spec_file).read_bytes(), type=WorkerSpec)
    listener = servers.inherited_socket(listen_fd)
    privileges.give_up()
    logs.set_up()
    logs.Rotation(Path(spec.log_file), spec.log_max_bytes, spec.log_files).start()
    servers.raise_file_limit()
    code = 1
    try:
        code = uvloop.run(_serve(spec, listener))
    except Exception:  # the process's boundary
        log.exception("the worker failed")
    finally:
        _remove_sockets(spec)
        logging.shutdown()
        os._exit(code)


def _is_on_record(leash: int) -> bool:
    try:
        return os.read(leash, 1) != b""
    finally:
        os.close(leash)


def _remove_sockets(spec: WorkerSpec) -> None:
    for name in (spec.socket, spec.handover):
        Path(name).unlink(missing_ok=True)


class _Orders:
    """To end: given by signal handlers and by the insider app, obeyed by the loop."""

    def __init__(self, spec: WorkerSpec) -> None:
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._spec = spec
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)
        self._before = False

    def _signalled(self, number: int) -> None:
        if self._before:
            log.warning("told to end again: ending at once")
            _remove_sockets(self._spec)
            os._exit(128 + number)
        self._before = True
        self.drain()

    def drain(self) -> None:
        self._queue.put_nowait("drain")

    async def wait(self) -> None:
        await self._queue.get()


async def _serve(spec: WorkerSpec, listener: socket.socket) -> int:
    state = WorkerState(spec)
    service = Service(state, loader.find_task(spec), partial(improving.start, state))
    orders = _Orders(spec)
    pair = spec.ssl_certfile and spec.ssl_keyfile and (spec.ssl_certfile, spec.ssl_keyfile)
    public = servers.server(PublicApp(service), spec.drain_timeout, pair=pair or None)
    insider = servers.server(
        insider_app(state, orders.drain, service.use_threads), _INSIDER_SECONDS, private=True
    )
    handover.offer(listener, Path(spec.handover))
    private = private_listener(Path(spec.socket))
    serving = [
        asyncio.ensure_future(public.serve([listener])),
        asyncio.ensure_future(insider.serve([private])),
    ]
    while not (public.started and insider.started):
        await asyncio.sleep(_TICK)
        _raise_if_ended(serving)
    log.info("serving %s (%s) as %s", spec.model_id, spec.task, spec.deployment)
    loader.start(state, service.loaded)
    code = await _until_told(state, orders, serving)
    log.info("ending: answering what was accepted")
    state.update(phase="draining", message="answering what was accepted")
    public.should_exit = True
    await serving[0]
    state.end()
    insider.should_exit = True
    await serving[1]
    service.close()
    log.info("ended")
    return code


def _raise_if_ended(serving: Sequence[asyncio.Future[None]]) -> None:
    for one in serving:
        if one.done():
            one.result()
            raise RuntimeError("a server ended by itself")


async def _until_told(
    state: WorkerState, orders: _Orders, serving: Sequence[asyncio.Future[None]]
) -> int:
    """Wait for the order to end, and answer the exit code: 1 if nobody cares for a failure."""
    told = asyncio.ensure_future(orders.wait())
    unheard = asyncio.ensure_future(_failed_and_unheard(state))
    try:
        await asyncio.wait({told, unheard, *serving}, return_when=asyncio.FIRST_COMPLETED)
        _raise_if_ended(serving)
        return 0 if told.done() else 1
    finally:
        told.cancel()
        unheard.cancel()


async def _failed_and_unheard(state: WorkerState) -> None:
    """Returns when loading has failed and for a minute nobody has listened."""
    failed_at: float | None = None
    while True:
        await asyncio.sleep(1.0)
        if state.now.phase == "failed":
            failed_at = failed_at or time.monotonic()
            if time.monotonic() - max(failed_at, state.listeners_seen_at) > _UNHEARD_SECONDS:
                return
