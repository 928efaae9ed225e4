"""The control API: what the command line, the SDK and ``curl --unix-socket`` speak.

Every answer is JSON, every stream a JSON object a line with empty lines between where nothing is to be
told for seconds, every error a :class:`~modeldeploy.schema.problem.Problem` with its HTTP status.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from modeldeploy.errors import BodyTooLarge, InvalidRequest, MalformedBody, ModelDeployError
from modeldeploy.schema.control import EventsQuery, LogsQuery, RevokeQuery, ShutdownRequest
from modeldeploy.schema.deployment import DeployRequest, StartRequest
from modeldeploy.schema.events import Event
from modeldeploy.schema.keys import NewKey
from modeldeploy.schema.problem import Problem
from modeldeploy.supervisor import devices, logs
from modeldeploy.supervisor.actor import Actor
from modeldeploy.supervisor.manager import Manager
from modeldeploy.supervisor.view import deployment_view
from modeldeploy.web import queries

log = logging.getLogger(__name__)

T = TypeVar("T")
_encode = msgspec.json.Encoder().encode
_MAX_BODY = 1 << 20
_BEAT_SECONDS = 5.0
_NDJSON = "application/x-ndjson"


def _json(value: Any, status: int = 200) -> Response:
    return Response(_encode(value), status, media_type="application/json")


async def _body(request: Request, kind: type[T]) -> T:
    raw = b""
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > _MAX_BODY:
            raise BodyTooLarge(f"the body is larger than {_MAX_BODY} bytes")
    try:
        return msgspec.json.decode(raw or b"{}", type=kind)
    except msgspec.ValidationError as error:
        raise InvalidRequest(str(error), hint="see modeldeploy deploy --help") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedBody(f"the body is not JSON: {error}") from error


def _query(request: Request, kind: type[T]) -> T:
    return queries.read(request.scope["query_string"], kind)


def _place(position: str | None) -> logs.Place | None:
    try:
        return logs.Place.of(position) if position else None
    except ValueError as error:
        raise InvalidRequest(f"in the query: after: {error}") from error


class ControlApi:
    """The routes over one manager. ``on_shutdown`` gets ``"drain"`` or ``"keep"``."""

    def __init__(self, manager: Manager, on_shutdown: Callable[[str], None]) -> None:
        self._manager = manager
        self._on_shutdown = on_shutdown

    def app(self) -> Starlette:
        one = "/v1/deployments/{name}"
        return Starlette(
            routes=[
                Route("/v1/status", self.status),
                Route("/v1/watch", self.watch),
                Route("/v1/deployments", self.list),
                Route("/v1/deployments", self.deploy, methods=["POST"]),
                Route(one, self.show),
                Route(one, self.remove, methods=["DELETE"]),
                Route(f"{one}/start", self.start, methods=["POST"]),
                Route(f"{one}/stop", self.stop, methods=["POST"]),
                Route(f"{one}/restart", self.restart, methods=["POST"]),
                Route(f"{one}/events", self.events),
                Route(f"{one}/logs", self.logs),
                Route(f"{one}/keys", self.keys),
                Route(f"{one}/keys", self.add_key, methods=["POST"]),
                Route(f"{one}/keys/{{key}}", self.revoke_key, methods=["DELETE"]),
                Route("/v1/shutdown", self.shutdown, methods=["POST"]),
            ],
            exception_handlers={
                ModelDeployError: _known_error,
                HTTPException: _http_error,
                Exception: _unknown_error,
            },
        )

    def _actor(self, request: Request) -> Actor:
        return self._manager.actor(request.path_params["name"])

    async def status(self, request: Request) -> Response:
        return _json(self._manager.status(os.getpid()))

    async def watch(self, request: Request) -> Response:
        return _lines(self._manager.watch.follow())

    async def list(self, request: Request) -> Response:
        return _json(self._manager.views())

    async def deploy(self, request: Request) -> Response:
        order = await _body(request, DeployRequest)
        # In a thread: asking for GPUs runs a program.
        await asyncio.to_thread(devices.check, order.spec)
        await self._manager.make_room(order)
        actor = self._manager.deploy(order)
        return _json(deployment_view(actor), 201)

    async def show(self, request: Request) -> Response:
        return _json(deployment_view(self._actor(request)))

    async def start(self, request: Request) -> Response:
        order = await _body(request, StartRequest)
        actor = self._manager.start(request.path_params["name"], order)
        return _json(deployment_view(actor), 202)

    async def restart(self, request: Request) -> Response:
        order = await _body(request, StartRequest)
        actor = self._manager.restart(request.path_params["name"], order)
        return _json(deployment_view(actor), 202)

    async def stop(self, request: Request) -> Response:
        return _json(deployment_view(self._manager.stop(request.path_params["name"])), 202)

    async def remove(self, request: Request) -> Response:
        return _json(deployment_view(self._manager.remove(request.path_params["name"])), 202)

    async def events(self, request: Request) -> Response:
        actor, asked = self._actor(request), _query(request, EventsQuery)
        if asked.follow:
            return _lines(_until_settled(actor, asked.after))
        return _finished(actor.events.after(asked.after))

    async def logs(self, request: Request) -> Response:
        actor, asked = self._actor(request), _query(request, LogsQuery)
        file = self._manager.log_file(actor)
        after = _place(asked.after)
        if asked.follow:
            return _lines(logs.follow(file, asked.tail, asked.since, lambda: actor.parked, after))
        is_over = after is None or actor.parked  # who goes on from a line is given whole ones
        found = await asyncio.to_thread(
            logs.read, file, asked.tail, asked.since, after, last=is_over
        )
        return await asyncio.to_thread(_finished, found)

    async def keys(self, request: Request) -> Response:
        return _json([one.shown() for one in self._actor(request).record.keys])

    async def add_key(self, request: Request) -> Response:
        new = await _body(request, NewKey)
        return _json(await self._manager.add_key(request.path_params["name"], new), 201)

    async def revoke_key(self, request: Request) -> Response:
        name, key = request.path_params["name"], request.path_params["key"]
        may_open = _query(request, RevokeQuery).open
        return _json(await self._manager.revoke_key(name, key, may_open=may_open))

    async def shutdown(self, request: Request) -> Response:
        order = await _body(request, ShutdownRequest)
        self._on_shutdown(order.workers)
        return _json(self._manager.status(os.getpid()), 202)


def _finished(items: list[Any]) -> Response:
    lines = b"".join(_encode(item) + b"\n" for item in items)
    return Response(lines, media_type=_NDJSON)


def _lines(items: AsyncIterator[Any]) -> StreamingResponse:
    """An empty line every few seconds says that we are there, though there is nothing to tell."""

    async def encoded() -> AsyncIterator[bytes]:
        following = aiter(items)
        coming = asyncio.ensure_future(anext(following))
        try:
            while True:
                done, _ = await asyncio.wait({coming}, timeout=_BEAT_SECONDS)
                if not done:
                    yield b"\n"
                    continue
                try:
                    item = coming.result()
                except StopAsyncIteration:
                    return
                yield _encode(item) + b"\n"
                coming = asyncio.ensure_future(anext(following))
        finally:
            coming.cancel()
            await asyncio.wait({coming})

    return StreamingResponse(encoded(), media_type=_NDJSON)


async def _until_settled(actor: Actor, after: int) -> AsyncIterator[Event]:
    """Events as they come, until the deployment is where it was told to be, or has failed."""
    async for event in actor.events.follow(after, until=lambda: actor.settled):
        yield event


def _known_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ModelDeployError)
    return _json(error.problem(), error.status)


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
    message = f"{request.method} {request.url.path}: {error.detail}"
    hint = "the gateway's /api/openapi.json lists the routes"
    problem = Problem(code=code, message=message, hint=hint)
    response = _json(problem, error.status_code)
    response.headers.update(error.headers or {})
    return response


def _unknown_error(request: Request, error: Exception) -> Response:
    log.error("unexpected error in %s", request.url.path, exc_info=error)
    problem = Problem(
        code="internal_error",
        message=f"{type(error).__name__} in the supervisor",
        hint="see modeldeploy daemon logs",
    )
    return _json(problem, 500)
