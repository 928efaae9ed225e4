"""The public app: routes of every dialect, health and info, one boundary around them all."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from importlib import metadata

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from modeldeploy import __version__
from modeldeploy.errors import (
    BodyTooLarge,
    MethodNotAllowed,
    ModelDeployError,
    NotFound,
    SlowBody,
)
from modeldeploy.worker import guards, openapi
from modeldeploy.worker.answers import Endpoint, Healthy, Info, NotHealthy, json_answer
from modeldeploy.worker.dialects import Dialect, dialects
from modeldeploy.worker.exchange import ClientGone, Exchange
from modeldeploy.worker.service import Service

log = logging.getLogger(__name__)

_HEAR_OUT_SECONDS = 2.0
_PACKAGES = ("transformers", "torch")


class _Pages:
    """What is told about the deployment without running it."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._state = service.state
        self._spec = service.state.spec

    def routes(self) -> list[Route]:
        return [
            Route("/health", self._health, methods=["GET"]),
            Route("/readyz", self._health, methods=["GET"]),
            Route("/livez", self._livez, methods=["GET"]),
            Route("/info", self._info, methods=["GET"]),
            Route("/openapi.json", self._openapi, methods=["GET"]),
        ]

    async def _livez(self, request: Request) -> Response:
        return json_answer({"status": "alive", "deployment_id": self._spec.deployment})

    async def _health(self, request: Request) -> Response:
        now, batcher = self._state.now, self._service.batcher
        model_id, name = self._spec.model_id, self._spec.deployment
        if now.phase == "ready" and batcher and batcher.alive:
            return json_answer(Healthy(model_id=model_id, deployment_id=name))
        answer = json_answer(
            NotHealthy(
                status=now.phase if now.phase in {"loading", "draining"} else "unhealthy",
                stage=now.stage,
                percent=now.percent,
                message=now.message,
                model_id=model_id,
                deployment_id=name,
            ),
            503,
        )
        if now.phase in {"loading", "draining"}:
            answer.headers["retry-after"] = "1"
        return answer

    async def _info(self, request: Request) -> Response:
        task, adapter = self._service.task, self._service.adapter
        model = adapter.info() if adapter else None
        return json_answer(
            Info(
                model_id=self._spec.model_id,
                deployment_id=self._spec.deployment,
                revision=self._spec.commit,
                task=task.name,
                model_type=task.model_type,
                dtype=model.dtype if model else None,
                device=model.device if model else None,
                parameters=model.parameters if model else None,
                max_input_length=model.max_input_length if model else None,
                memory_bytes=self._state.memory(),
                limits=self._spec.limits,
                versions=_versions(),
                uptime_s=round(time.time() - self._state.started_at, 3),
                endpoints=self._endpoints(),
            )
        )

    def _endpoints(self) -> list[Endpoint]:
        example = self._service.task.example
        return [
            Endpoint(method="POST", path="/predict", description="a prediction", example=example),
            Endpoint(method="GET", path="/health", description="200 when it would be answered now"),
            Endpoint(method="GET", path="/info", description="what is deployed here"),
            Endpoint(method="GET", path="/openapi.json", description="the schema of all this"),
        ]

    async def _openapi(self, request: Request) -> Response:
        body = openapi.document(
            self._service.task, self._spec.limits, f"{self._spec.deployment}: {self._spec.model_id}"
        )
        return Response(body, media_type="application/json")


def _versions() -> dict[str, str]:
    versions = {"modeldeploy": __version__}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions


class PublicApp:
    """The one boundary: whatever is raised within becomes an answer in the right dialect."""

    def __init__(self, service: Service) -> None:
        self._state = service.state
        self._dialects = dialects(service)
        routes = [route for dialect in self._dialects for route in dialect.routes()]
        self._router: ASGIApp = Router([*routes, *_Pages(service).routes()], redirect_slashes=False)
        self._hosts = guards.own_hosts(service.state.spec.host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        scope["app"] = self  # so that the router raises its 404 and 405 instead of answering them
        exchange = Exchange(scope, receive)
        outgoing = _Outgoing(exchange, send, closing=lambda: self._state.now.phase == "draining")
        try:
            guards.check(exchange, self._hosts)
            await self._router(scope, receive, outgoing)
        except ClientGone:
            outgoing.status = 499
        except (ModelDeployError, HTTPException) as error:
            await self._answer(error, exchange, outgoing)
        except Exception:  # a bug of ours: told as one, and the next request is served
            log.exception("request %s failed", exchange.request_id)
            if outgoing.status:
                raise
            bug = ModelDeployError("an internal error", hint="the worker's log has the whole story")
            await self._answer(bug, exchange, outgoing)
        finally:
            if exchange.is_prediction:
                _log(exchange, outgoing.status)

    async def _answer(
        self, raised: ModelDeployError | HTTPException, exchange: Exchange, send: _Outgoing
    ) -> None:
        error = raised if isinstance(raised, ModelDeployError) else _typed(raised, exchange)
        response = self._dialect(exchange).error(error, exchange.request_id)
        if isinstance(raised, HTTPException):
            response.headers.update(raised.headers or {})
        if error.retry_after is not None:
            response.headers["retry-after"] = str(error.retry_after)
        if isinstance(error, BodyTooLarge | SlowBody):
            await _answer_and_hear_out(response, exchange, send)
        else:
            await response(exchange.scope, exchange.receive, send)

    def _dialect(self, exchange: Exchange) -> Dialect:
        path: str = exchange.scope["path"]
        return next(
            (one for one in self._dialects if path.startswith(one.prefix)), self._dialects[-1]
        )


class _Outgoing:
    """``send`` with the headers that every answer carries; remembers the status."""

    def __init__(self, exchange: Exchange, send: Send, closing: Callable[[], bool]) -> None:
        self._exchange = exchange
        self._send = send
        self._closing = closing
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            one = self._exchange
            more = [
                (b"x-request-id", one.request_id.encode()),
                (b"x-inference-time-ms", f"{one.inference_ms:.3f}".encode()),
                (b"x-queue-time-ms", f"{one.queue_ms:.3f}".encode()),
            ]
            if self._closing():
                more.append((b"connection", b"close"))
            message = {**message, "headers": [*message["headers"], *more]}
        await self._send(message)


def _typed(raised: HTTPException, exchange: Exchange) -> ModelDeployError:
    method, path = exchange.scope["method"], exchange.scope["path"][:200]
    if raised.status_code == 405:
        return MethodNotAllowed(f"{path} does not answer {method}", hint="see the Allow header")
    return NotFound(f"there is no {path}", hint="GET /info lists the endpoints")


async def _answer_and_hear_out(response: Response, exchange: Exchange, send: Send) -> None:
    """Answer at once, then read on a little before closing: a client that is still sending
    would otherwise meet a reset connection instead of the answer."""

    async def held(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "more_body": True}
        await send(message)

    async def hear_out() -> None:
        while True:
            message = await exchange.receive()
            if message["type"] == "http.disconnect" or not message.get("more_body", False):
                return

    response.headers["connection"] = "close"
    await response(exchange.scope, exchange.receive, held)
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(hear_out(), _HEAR_OUT_SECONDS)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _log(exchange: Exchange, status: int) -> None:
    log.info(
        "%s %s %d %.1f ms %s",
        exchange.scope["method"],
        exchange.scope["raw_path"].decode("ascii", "backslashreplace")[:200],
        status,
        (time.monotonic() - exchange.started) * 1000,
        exchange.request_id,
    )
