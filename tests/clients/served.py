"""A worker's whole inside — loading, batching, every dialect over real HTTP — in this process.

What a worker process adds (sockets handed over, drain, logs) has its own tests; without it a tiny
model is served within a fraction of a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from modeldeploy.web import servers
from modeldeploy.worker import loader
from modeldeploy.worker.http.app import PublicApp
from modeldeploy.worker.http.service import Service
from modeldeploy.worker.state import WorkerState
from tests.worker.specs import worker_spec

_SECONDS = 120.0


@dataclass
class Served:
    """``url`` is the deployment's own, ``state`` what the worker says of itself."""

    url: str
    port: int
    state: WorkerState


@contextlib.contextmanager
def served(snapshot: Path, task: str, **changes: Any) -> Iterator[Served]:
    """The model in ``snapshot``, ready, until the end of ``with``."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    port = int(listener.getsockname()[1])
    usual = {"dtype": "float32", "threads": torch.get_num_threads(), "drain_timeout": 1.0}
    spec = worker_spec(snapshot, task, port, **{**usual, **changes})
    found: list[Served | BaseException] = []
    ready, stop = threading.Event(), threading.Event()

    async def serve() -> None:
        state = WorkerState(spec)
        service = Service(state, loader.find_task(spec))
        server = servers.server(PublicApp(service), 1)
        serving = asyncio.ensure_future(server.serve([listener]))
        loader.start(state, service.loaded)
        now = await state.settled(_SECONDS)
        if now.phase == "ready":
            found.append(Served(f"http://127.0.0.1:{port}", port, state))
        else:
            found.append(RuntimeError(f"{now.phase}: {now.message}"))
        ready.set()
        await asyncio.to_thread(stop.wait)
        server.should_exit = True
        await serving
        service.close()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:  # the thread's boundary: the test is told
            found.append(error)
            ready.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        assert ready.wait(_SECONDS), "the model was not ready in time"
        one = found[0]
        if isinstance(one, BaseException):
            raise one
        yield one
    finally:
        stop.set()
        thread.join(_SECONDS)
        listener.close()
