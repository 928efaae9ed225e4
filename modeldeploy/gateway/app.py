"""The gateway's app: which deployment a request is for, one boundary around it all."""

from __future__ import annotations

import asyncio
import logging
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from modeldeploy.errors import (
    BodyTooLarge,
    MalformedRequest,
    MethodNotAllowed,
    ModelDeployError,
    NotFound,
    ShuttingDown,
    SlowBody,
    Unauthorized,
)
from modeldeploy.gateway import dashboard
from modeldeploy.gateway.bodies import Bodies
from modeldeploy.gateway.control import Control
from modeldeploy.gateway.metrics import Metrics
from modeldeploy.gateway.pages import Pages, model
from modeldeploy.gateway.proxy import Proxy
from modeldeploy.gateway.roster import Roster
from modeldeploy.gateway.visit import Visit
from modeldeploy.schema.deployment import Deployment
from modeldeploy.web import cors, guards
from modeldeploy.web.answers import answer_and_hear_out, json_answer
from modeldeploy.web.incoming import ClientGone

log = logging.getLogger(__name__)

_SESSION = b"/session"
_MODELS = b"/v1/models/"
_OIP_MODELS = b"/v2/models/"
_REQUEST_ID = b"x-request-id"
_CLIENT_GONE = 499
_RETRY_SECONDS = 5


class GatewayApp:
    """Whatever is raised within becomes an answer in the right dialect."""

    def __init__(
        self, roster: Roster, proxy: Proxy, control: Control, metrics: Metrics, limit: int
    ) -> None:
        self._roster = roster
        self._proxy = proxy
        self._control = control
        self._metrics = metrics
        self._bodies = Bodies(limit)
        self._pages = Pages(roster, proxy, metrics).by_path
        self._hosts = guards.own_hosts("127.0.0.1")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        visit = Visit(scope, receive)
        outgoing = _Outgoing(send, visit.request_id)
        try:
            await self._answer(visit, outgoing)
        except ClientGone:
            outgoing.status = _CLIENT_GONE
        except asyncio.CancelledError:  # uvicorn's, when the time to drain is over
            if outgoing.status:
                raise
            await self._refuse(_cut_off(), visit, outgoing)
        except ModelDeployError as error:
            if outgoing.status:  # a whole answer cannot be made of what has been sent: cut it off
                log.warning("request %s was cut off: %s", visit.request_id, error.message)
            else:
                await self._refuse(error, visit, outgoing)
        except Exception:  # a bug of ours: told as one, and the next request is served
            log.exception("request %s failed", visit.request_id)
            if outgoing.status:
                raise
            bug = ModelDeployError(
                "an internal error", hint="the gateway's log has the whole story"
            )
            await self._refuse(bug, visit, outgoing)
        finally:
            self._metrics.answered(visit, outgoing.status)

    def refusal(self, message: str) -> Response:
        """The answer to what is no request of HTTP."""
        visit = Visit({"method": "GET", "raw_path": b"/", "headers": []}, _nothing)
        hint = "speak HTTP/1.1, with a head of at most 64 KiB"
        return visit.refusal(MalformedRequest(message, hint=hint))

    async def _refuse(self, error: ModelDeployError, visit: Visit, send: _Outgoing) -> None:
        response = visit.refusal(error)
        if isinstance(error, MethodNotAllowed):
            response.headers["allow"] = ", ".join(error.allow)
        if isinstance(error, Unauthorized):
            response.headers["www-authenticate"] = "Bearer"
        await self._send(
            response, visit, send, hears_out=isinstance(error, BodyTooLarge | SlowBody)
        )

    async def _send(
        self, response: Response, visit: Visit, send: _Outgoing, *, hears_out: bool = False
    ) -> None:
        """An answer of our own."""
        response.raw_headers += cors.headers(visit, visit.origins)
        if hears_out:
            await answer_and_hear_out(response, visit, send)
        else:
            await response(visit.scope, visit.receive, send)

    # Routing.

    async def _answer(self, visit: Visit, send: _Outgoing) -> None:
        if visit.route == "openai":
            visit.origins = self._roster.origins()
        page = self._pages.get(unquote(visit.path.decode("latin-1")))
        if page:
            guards.check(visit, self._hosts, visit.origins)
            if not await self._preflight(visit, send, "GET"):
                _only(visit, "GET", "HEAD")
                request = Request(visit.scope, visit.receive)
                await self._send(await page(request), visit, send)
        elif visit.route == "deployments":
            await self._to_named(visit, send)
        elif visit.route == "openai":
            await self._to_model(visit, send)
        elif visit.route == "oip":
            await self._to_oip_model(visit, send)
        else:
            guards.check(visit, self._hosts, visit.origins)
            if visit.route == "api":
                await self._control.answer(visit, send)
            elif visit.path == _SESSION:
                _only(visit, "GET", "HEAD", "POST", "DELETE")
                await self._send(await dashboard.session(self._control.access, visit), visit, send)
            else:
                raise _nowhere(visit)

    async def _to_named(self, visit: Visit, send: _Outgoing) -> None:
        """``/deployments/{name}/...``: everything behind the name is the deployment's own path, to
        which the links of its pages are relative."""
        name, path = visit.target()
        found = self._roster.find(name)
        if found and not path and visit.method in {"GET", "HEAD"}:
            self._admit(visit, found)
            visit.deployment = name
            await self._send(
                Response(status_code=307, headers={"location": f"{name}/"}), visit, send
            )
        else:
            await self._to(found, name, visit, path or b"/", send)

    async def _to_oip_model(self, visit: Visit, send: _Outgoing) -> None:
        """``/v2/models/{model}/...``: a model's id may have a slash in it."""
        named = unquote(visit.path[len(_OIP_MODELS) :].decode("latin-1"))
        if not visit.path.startswith(_OIP_MODELS):
            guards.check(visit, self._hosts, visit.origins)
            raise _nowhere(visit)
        await self._to(
            self._roster.of_path(named), named.partition("/")[0], visit, visit.path, send
        )

    async def _to(
        self, found: Deployment | None, name: str, visit: Visit, path: bytes, send: _Outgoing
    ) -> None:
        self._admit(visit, found)
        deployment = found or self._roster.named(name)
        await self._proxy.pass_on(visit, deployment, path, send, None)

    def _admit(self, visit: Visit, found: Deployment | None) -> None:
        visit.origins = frozenset(found.spec.allow_origins) if found else frozenset()
        guards.check(visit, self._hosts, visit.origins)

    async def _to_model(self, visit: Visit, send: _Outgoing) -> None:
        """``/v1/...``: the deployment that the body names."""
        guards.check(visit, self._hosts, visit.origins)
        seen = self._roster.seen_by(cors.origin_of(visit, visit.origins))
        is_model = visit.path.startswith(_MODELS)
        if await self._preflight(visit, send, "GET" if is_model else "POST"):
            return
        if is_model:
            _only(visit, "GET", "HEAD")
            named = unquote(visit.path[len(_MODELS) :].decode("latin-1"))
            await self._send(json_answer(model(seen.of_model(named))), visit, send)
        elif visit.method == "POST":
            async with self._bodies.read(visit) as (raw, named):
                deployment = seen.of_model(named)
                await self._proxy.pass_on(visit, deployment, visit.path, send, raw)
        else:
            raise _nowhere(visit)

    async def _preflight(self, visit: Visit, send: _Outgoing, method: str) -> bool:
        """Whether a browser asked, for a page of an allowed origin, what it may send; it is told."""
        if visit.method != "OPTIONS" or not cors.origin_of(visit, visit.origins):
            return False
        await self._send(cors.preflight([method], visit), visit, send)
        return True


class _Outgoing:
    """``send`` that remembers the status, and has every answer tell the request's name."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._id = (_REQUEST_ID, request_id.encode())
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if not any(name == _REQUEST_ID for name, _ in message["headers"]):
                message = {**message, "headers": [*message["headers"], self._id]}
        await self._send(message)


def _only(visit: Visit, *methods: str) -> None:
    """
    Raises:
        MethodNotAllowed
    """
    if visit.method not in methods:
        path = visit.path[:200].decode("latin-1")
        error = MethodNotAllowed(f"{path} does not answer {visit.method}", hint="see Allow")
        error.allow = methods
        raise error


def _nowhere(visit: Visit) -> NotFound:
    path = visit.path[:200].decode("latin-1")
    return NotFound(
        f"there is no {visit.method} {path} here",
        hint="GET /docs shows what there is; each deployment is below /deployments/NAME",
    )


def _cut_off() -> ShuttingDown:
    error = ShuttingDown(
        "the gateway is ending, and the request was not done in the time left for it",
        hint="try again; MODELDEPLOY_DRAIN_TIMEOUT is how long it may answer then",
    )
    error.retry_after = _RETRY_SECONDS
    return error


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
