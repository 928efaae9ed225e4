"""A front door in this process, over upstreams that are asgi apps of the test: real sockets, no worker."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import aiohttp
from msgspec.structs import replace
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send
from yarl import URL

from modeldeploy.client import Client
from modeldeploy.gateway.access import Access
from modeldeploy.gateway.app import GatewayApp
from modeldeploy.gateway.control import Control
from modeldeploy.gateway.history import History
from modeldeploy.gateway.metrics import Metrics
from modeldeploy.gateway.proxy import Proxy
from modeldeploy.gateway.roster import Roster
from modeldeploy.gateway.scraping import Scraper
from modeldeploy.schema.control import Defaults, Fleet
from modeldeploy.schema.deployment import Deployment, HubAccess
from modeldeploy.transport import private_listener
from modeldeploy.web import servers
from tests.cli.stories import deployment

SECONDS = 30.0
TOKEN = "t0ken"
LIMIT = 1 << 20
DEFAULTS = Defaults(
    cache_dir="/cache", device="auto", dtype="auto", hub=HubAccess(), tasks=["echo"]
)


def tell(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a story to its end, which must come."""
    asyncio.run(asyncio.wait_for(story(), SECONDS))


@contextlib.asynccontextmanager
async def served(app: ASGIApp, listener: socket.socket) -> AsyncIterator[None]:
    server = servers.server(app, 1.0)
    serving = asyncio.ensure_future(server.serve([listener]))
    while not server.started:
        await asyncio.sleep(0.001)
    try:
        yield
    finally:
        server.should_exit = True
        await serving


def listening() -> tuple[socket.socket, int]:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    return listener, int(listener.getsockname()[1])


class Door:
    """``session`` asks it; ``show`` changes what the supervisor tells."""

    def __init__(self, port: int, roster: Roster, session: aiohttp.ClientSession) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.session = session
        self._roster = roster

    def show(self, *deployments: Deployment) -> None:
        self._roster.take(Fleet(deployments=[*deployments]))

    def change(self, name: str, **changes: Any) -> None:
        self.show(*(replace(o, **changes) if o.name == name else o for o in self._roster.all()))

    async def ask(self, method: str, path: str, **how: Any) -> tuple[int, dict[str, str], bytes]:
        """Status, headers in lower case, body; ``path`` is sent as it stands."""
        url = URL(self.url + path, encoded=True)
        async with self.session.request(method, url, allow_redirects=False, **how) as answer:
            headers = {name.lower(): value for name, value in answer.headers.items()}
            return answer.status, headers, await answer.read()


@contextlib.asynccontextmanager
async def door(
    folder: Path, upstreams: dict[str, ASGIApp], supervisor: ASGIApp | None = None
) -> AsyncIterator[Door]:
    """Over deployments named as ``upstreams`` are, each of the model ``org/NAME``."""
    async with contextlib.AsyncExitStack() as stack:
        found = []
        for name, app in upstreams.items():
            listener, port = listening()
            await stack.enter_async_context(served(app, listener))
            found.append(deployment(name, f"org/{name}", port=port))
        control_socket = folder / "control.sock"
        if supervisor:
            listening_there = private_listener(control_socket)
            await stack.enter_async_context(served(supervisor, listening_there))
        roster, metrics = Roster(Client(control_socket)), Metrics()
        proxy, access = Proxy(LIMIT, metrics), Access(TOKEN, folder / "ended-sessions")
        history = History(roster, Scraper(proxy))
        control = Control(str(control_socket), access, metrics, history, lambda: DEFAULTS)
        listener, port = listening()
        app = GatewayApp(roster, proxy, control, metrics, LIMIT)
        stack.push_async_callback(proxy.close)
        stack.push_async_callback(control.close)
        await stack.enter_async_context(served(app, listener))
        connector = aiohttp.TCPConnector(force_close=True)
        session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        await stack.enter_async_context(session)
        one = Door(port, roster, session)
        one.show(*found)
        yield one


class Echo:
    """Answers what it was asked: method, path, query, headers and body."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.asked: list[dict[str, Any]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        self.asked.append(
            {
                "method": scope["method"],
                "path": scope["raw_path"].decode(),
                "query": scope["query_string"].decode(),
                "headers": dict(request.headers),
                "body": await request.body(),
            }
        )
        headers = [
            (b"content-type", b"text/plain"),
            (b"x-of", self.name.encode()),
            (b"x-twice", b"1"),
            (b"x-twice", b"2"),
            (b"connection", b"x-hop"),
            (b"x-hop", b"gone"),
        ]
        await send({"type": "http.response.start", "status": 203, "headers": headers})
        await send({"type": "http.response.body", "body": self.name.encode()})
