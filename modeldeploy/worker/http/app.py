"""The public app: routes of every dialect and the pages, one boundary around them all."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from modeldeploy import certificates
from modeldeploy.errors import (
    BodyTooLarge,
    MalformedRequest,
    MethodNotAllowed,
    ModelDeployError,
    ShuttingDown,
    SlowBody,
    Unauthorized,
)
from modeldeploy.web import cors, guards
from modeldeploy.web.answers import answer_and_hear_out
from modeldeploy.web.incoming import ClientGone
from modeldeploy.web.shapes import told_beside
from modeldeploy.worker.dialects import Dialect, kinds
from modeldeploy.worker.http.exchange import Exchange
from modeldeploy.worker.http.pages import Pages
from modeldeploy.worker.http.routing import Routes
from modeldeploy.worker.http.service import Service

log = logging.getLogger(__name__)

_LARGE_BYTES = 1024 * 1024
_RETRY_SECONDS = 5


class PublicApp:
    """The one boundary: whatever is raised within becomes an answer in the right dialect."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._state = service.state
        self._metrics = service.metrics
        self._dialects = [kind(service) for kind in kinds().values()]
        routes = [route for dialect in self._dialects for route in dialect.routes()]
        self._routes = Routes([*routes, *Pages(service).routes()])
        spec = service.state.spec
        self._hosts = guards.own_hosts(spec.host)
        if spec.ssl_certfile and spec.ssl_keyfile:
            named = certificates.examine(spec.ssl_certfile, spec.ssl_keyfile).names
            self._hosts |= guards.bracketed(named)
        self._origins = frozenset(spec.allow_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        exchange = Exchange(scope, receive)
        outgoing = _Outgoing(
            exchange,
            send,
            cors.headers(exchange, self._origins),
            closing=lambda: self._state.now.phase == "draining",
        )
        try:
            guards.check(exchange, self._hosts, self._origins)
            await self._route(exchange, outgoing)
        except ClientGone:
            outgoing.status = 499
        except asyncio.CancelledError:  # uvicorn's, when the time to drain is over
            if outgoing.status:
                raise
            await self._answer(_cut_off(), exchange, outgoing)
        except ModelDeployError as error:
            self._failed(error, exchange)
            await self._answer(error, exchange, outgoing)
        except Exception:  # a bug of ours: told as one, and the next request is served
            log.exception("request %s failed", exchange.request_id)
            bug = ModelDeployError("an internal error", hint="the worker's log has the whole story")
            self._failed(bug, exchange)
            if outgoing.status:
                raise
            await self._answer(bug, exchange, outgoing)
        finally:
            self._service.release(exchange)
            if exchange.is_prediction:
                self._account(exchange, outgoing.status)
            exchange.over()

    def refusal(self, message: str) -> Response:
        """The answer to what is no request of HTTP, so of no dialect either: the native error."""
        exchange = Exchange({"headers": []}, _nothing)
        error = MalformedRequest(message, hint="speak HTTP/1.1, with a head of at most 64 KiB")
        response = self._dialects[0].error(error, exchange.request_id)
        response.raw_headers += _identity(exchange)
        return response

    async def _route(self, exchange: Exchange, send: _Outgoing) -> None:
        scope = exchange.scope
        asks_first = scope["method"] == "OPTIONS" and cors.origin_of(exchange, self._origins)
        if asks_first and (methods := self._routes.methods(scope)):
            await cors.preflight(methods, exchange)(scope, exchange.receive, send)
        else:
            self._state.keys.check(exchange)
            await self._routes(scope, exchange.receive, send)

    async def _answer(self, error: ModelDeployError, exchange: Exchange, send: _Outgoing) -> None:
        response = self._dialect(exchange).error(error, exchange.request_id)
        if isinstance(error, MethodNotAllowed):
            response.headers["allow"] = ", ".join(error.allow)
        response.headers.update(told_beside(error))
        if isinstance(error, Unauthorized):
            response.headers["www-authenticate"] = "Bearer"
        if isinstance(error, BodyTooLarge | SlowBody | Unauthorized):
            await answer_and_hear_out(response, exchange, send)
        else:
            await response(exchange.scope, exchange.receive, send)

    def _failed(self, error: ModelDeployError, exchange: Exchange) -> None:
        if exchange.is_prediction:
            self._metrics.failed(error.code)

    def _account(self, exchange: Exchange, status: int) -> None:
        seconds = time.monotonic() - exchange.started
        computed, queued = exchange.inference_ms / 1000, exchange.queue_ms / 1000
        self._metrics.answered(status, seconds, queued, computed)
        if (validation := exchange.validation_seconds) is not None:
            self._metrics.validated(validation)
        _log(exchange, status, seconds)

    def _dialect(self, exchange: Exchange) -> Dialect:
        if exchange.dialect is not None:
            return exchange.dialect
        path: str = exchange.scope["path"]
        return next(one for one in reversed(self._dialects) if one.speaks(path))


class _Outgoing:
    """``send`` with the headers that every answer carries; remembers the status."""

    def __init__(
        self,
        exchange: Exchange,
        send: Send,
        more: list[tuple[bytes, bytes]],
        closing: Callable[[], bool],
    ) -> None:
        self._exchange = exchange
        self._send = send
        self._more = more
        self._closing = closing
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            more = [*self._more, *_identity(self._exchange)]
            if self._closing():
                more.append((b"connection", b"close"))
            message = {**message, "headers": [*message["headers"], *more]}
        elif len(message.get("body", b"")) > _LARGE_BYTES and not message.get("more_body"):
            # Its memory counts as taken until the client has read it.
            await self._send({**message, "more_body": True})
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)


def _identity(exchange: Exchange) -> list[tuple[bytes, bytes]]:
    """What every answer tells of its request."""
    return [
        (b"x-request-id", exchange.request_id.encode()),
        (b"x-inference-time-ms", f"{exchange.inference_ms:.3f}".encode()),
        (b"x-queue-time-ms", f"{exchange.queue_ms:.3f}".encode()),
    ]


def _cut_off() -> ShuttingDown:
    error = ShuttingDown(
        "the deployment is ending, and the request was not done in the time left for it",
        hint="try again; MODELDEPLOY_DRAIN_TIMEOUT is how long a deployment that ends may answer",
    )
    error.retry_after = _RETRY_SECONDS
    return error


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def _log(exchange: Exchange, status: int, seconds: float) -> None:
    log.info(
        "%s %s %d %.1f ms %s",
        exchange.scope["method"],
        exchange.scope["raw_path"].decode("ascii", "backslashreplace")[:200],
        status,
        seconds * 1000,
        exchange.request_id,
    )
