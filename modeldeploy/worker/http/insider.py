"""The app on the private socket: what the supervisor hears and asks.

``GET /events`` is NDJSON of :class:`~modeldeploy.schema.worker.WorkerReport`, a line at each
change (of progress at most ten a second) and at least one a second; ``GET /status`` is one of them;
``PUT /threads`` takes :class:`~modeldeploy.schema.threads.Threads` to compute with; ``PUT /keys`` takes
:class:`~modeldeploy.schema.keys.KeyOrder`, in force when it is answered; ``POST /drain``
begins the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from functools import partial

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from modeldeploy.schema.keys import KeyOrder
from modeldeploy.schema.threads import Threads
from modeldeploy.web.keys import Keyring
from modeldeploy.worker.state import Now, WorkerState

_SHORTEST_PAUSE = 0.1
_HEARTBEAT_SECONDS = 0.8
_encode = msgspec.json.Encoder().encode
_threads = msgspec.json.Decoder(Threads).decode
_keys = msgspec.json.Decoder(KeyOrder).decode


async def _reports(state: WorkerState) -> AsyncIterator[bytes]:
    with state.listening() as changed:
        while not state.ended:
            told = state.now
            yield _encode(state.report()) + b"\n"
            state.listeners_seen_at = time.monotonic()
            await _until(partial(_has_moved, state, told), _SHORTEST_PAUSE, state, changed)
            await _until(partial(_has_changed, state, told), _HEARTBEAT_SECONDS, state, changed)


def _has_moved(state: WorkerState, told: Now) -> bool:
    return state.now.phase != told.phase


def _has_changed(state: WorkerState, told: Now) -> bool:
    return state.now is not told


async def _until(
    happened: Callable[[], bool], seconds: float, state: WorkerState, changed: asyncio.Event
) -> None:
    """Returns when it has happened or the worker ends, or after so many seconds."""
    ends = time.monotonic() + seconds
    while not (happened() or state.ended) and (left := ends - time.monotonic()) > 0:
        changed.clear()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(changed.wait(), left)


def insider_app(
    state: WorkerState, drain: Callable[[], None], use_threads: Callable[[Threads], None]
) -> Starlette:
    async def events(request: Request) -> Response:
        return StreamingResponse(_reports(state), media_type="application/x-ndjson")

    async def status(request: Request) -> Response:
        return Response(_encode(state.report()), media_type="application/json")

    async def threads(request: Request) -> Response:
        try:
            use_threads(_threads(await request.body()))
        except msgspec.DecodeError as error:
            return Response(str(error), 400, media_type="text/plain")
        return Response(status_code=204)

    async def keys(request: Request) -> Response:
        try:
            state.keys = Keyring(_keys(await request.body()).digests)
        except msgspec.DecodeError as error:
            return Response(str(error), 400, media_type="text/plain")
        return Response(status_code=204)

    async def begin_drain(request: Request) -> Response:
        drain()
        return Response(_encode(state.report()), 202, media_type="application/json")

    return Starlette(
        routes=[
            Route("/events", events, methods=["GET"]),
            Route("/status", status, methods=["GET"]),
            Route("/threads", threads, methods=["PUT"]),
            Route("/keys", keys, methods=["PUT"]),
            Route("/drain", begin_drain, methods=["POST"]),
        ]
    )
