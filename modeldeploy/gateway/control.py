"""``/api``: the control API, passed on to the supervisor's socket for whoever has the token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from starlette.types import Send
from yarl import URL

from modeldeploy.errors import DaemonUnreachable, NotFound, RequestTimeout
from modeldeploy.gateway import control_document
from modeldeploy.gateway.access import Access
from modeldeploy.gateway.history import History
from modeldeploy.gateway.metrics import Metrics
from modeldeploy.gateway.proxy import as_text, relay, session
from modeldeploy.gateway.visit import Visit
from modeldeploy.schema.control import Defaults, FiguresQuery
from modeldeploy.transport import is_ours
from modeldeploy.web import queries
from modeldeploy.web.answers import json_answer
from modeldeploy.web.attending import Attending
from modeldeploy.web.incoming import ClientGone

_ROOT = b"/api"
_DOCUMENT = b"/openapi.json"
_DEFAULTS = b"/defaults"
_FIGURES = b"/figures"
_MAX_BODY = 1 << 20
_PASSED = (b"accept", b"content-type")
_LONGEST_SECONDS = 24 * 3600.0  # events and logs are followed


class _Connector(aiohttp.UnixConnector):
    """Nothing is said to a process of another user: requests carry the Hub's token."""

    async def _create_connection(
        self, req: aiohttp.ClientRequest, traces: list[Any], timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        handler = await super()._create_connection(req, traces, timeout)
        assert handler.transport is not None
        if not is_ours(handler.transport.get_extra_info("socket")):
            handler.close()
            raise aiohttp.ClientConnectionError("whoever listens there is another user")
        return handler


class Control:
    """Made in the event loop. A request that ``access`` does not let in learns nothing, not even which
    routes there are."""

    def __init__(
        self,
        socket_path: str,
        access: Access,
        metrics: Metrics,
        history: History,
        defaults: Callable[[], Defaults],
    ) -> None:
        self.access = access
        self._metrics = metrics
        self._history = history
        self._defaults = defaults
        self._session = session(_Connector(path=socket_path))

    async def close(self) -> None:
        await self._session.close()

    async def answer(self, visit: Visit, send: Send) -> None:
        """
        Raises:
            Unauthorized, Forbidden, NotFound, InvalidRequest, which all that is wrong with the body
                is; ClientGone; DaemonUnreachable.
        """
        self.access.check(visit)
        path = visit.path[len(_ROOT) :]
        reads = visit.method in {"GET", "HEAD"}
        if path == _DOCUMENT and reads:
            await control_document.page()(visit.scope, visit.receive, send)
        elif path == _DEFAULTS and reads:
            await json_answer(self._defaults())(visit.scope, visit.receive, send)
        elif path == _FIGURES and reads:
            asked = queries.read(visit.scope["query_string"], FiguresQuery)
            points = await self._history.since(asked.since)
            await json_answer(points)(visit.scope, visit.receive, send)
        elif path.startswith(b"/v1/"):
            await self._pass_on(visit, path, send)
        else:
            raise NotFound(
                "there is no such page", hint="GET /api/openapi.json lists what there is"
            )

    async def _pass_on(self, visit: Visit, path: bytes, send: Send) -> None:
        body = await visit.json(_MAX_BODY)
        if self._session.closed:  # the next gateway has the socket
            raise DaemonUnreachable("the gateway is ending", hint="ask again")
        query = visit.scope["query_string"]
        asked = path + b"?" + query if query else path
        headers = [
            (name.decode("ascii"), as_text(name, visit.headers(name)[0]))
            for name in _PASSED
            if visit.headers(name)
        ]
        with Attending(_LONGEST_SECONDS, _endless, visit.gone, ClientGone):
            try:
                async with self._session.request(
                    visit.method,
                    URL("http://localhost" + asked.decode("latin-1"), encoded=True),
                    headers=headers,
                    data=body or None,
                    allow_redirects=False,
                ) as response:
                    await relay(response, visit.method, send, self._metrics)
            except (aiohttp.ClientError, OSError) as error:
                raise DaemonUnreachable(
                    "the supervisor does not answer",
                    hint="modeldeploy daemon start starts it; deployments go on answering",
                ) from error


def _endless() -> RequestTimeout:
    return RequestTimeout("the request took a day", hint="ask again")
