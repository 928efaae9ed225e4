"""A request passed on to a deployment's own port, and the answer passed back as it comes.

Nothing is kept but what is on its way: a client that reads slowly slows the deployment's sending
down, one that leaves ends what is done for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import time
from collections.abc import AsyncIterator

import aiohttp
from multidict import CIMultiDict
from starlette.types import Send
from yarl import URL

from modeldeploy.errors import MalformedRequest, RequestTimeout, SlowBody, UpstreamFailed
from modeldeploy.gateway.metrics import Metrics
from modeldeploy.gateway.roster import not_ready, open_url
from modeldeploy.gateway.visit import Visit
from modeldeploy.schema.deployment import Deployment
from modeldeploy.web.attending import Attending
from modeldeploy.web.incoming import ClientGone, body_deadline, too_large

log = logging.getLogger(__name__)

_CONNECT_SECONDS = 5.0
_LONGEST_SECONDS = 24 * 3600.0  # deployments have time limits of their own; they are shorter
_IDLE_SECONDS = 30.0  # less than a worker keeps an idle connection
_SMALL_BYTES = 64 * 1024
# Of one connection only (RFC 9110, 7.6.1); and Expect, which was answered here.
_HOPS = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection "
    b"te trailer transfer-encoding upgrade expect".split()
)

Headers = list[tuple[bytes, bytes]]


class Proxy:
    """Made in the event loop. ``limit`` bounds the bytes of a request's body."""

    def __init__(self, limit: int, metrics: Metrics) -> None:
        self._limit = limit
        self._metrics = metrics
        # Certificates are not checked: they may be for other names, and nothing leaves the machine.
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS, ssl=False)
        self._session = session(connector)

    async def close(self) -> None:
        await self._session.close()

    async def pass_on(
        self, visit: Visit, deployment: Deployment, path: bytes, send: Send, body: bytes | None
    ) -> None:
        """``body`` is the request's, where that has been read already.

        Raises:
            NotReady: nobody answers on its port. UpstreamFailed: it ended without an answer.
            BodyTooLarge, SlowBody, MalformedBody; ClientGone.
        """
        visit.deployment = deployment.name
        url = open_url(deployment)
        visit.check_length(self._limit)
        upload = _Upload(visit, self._limit)
        data = await upload.begin() if body is None else body
        with Attending(_LONGEST_SECONDS, _endless, upload.gone, ClientGone):
            try:
                await self._exchange(visit, url, path, data, send)
            except aiohttp.ClientConnectorError as error:
                raise not_ready(deployment) from error
            except (aiohttp.ClientError, OSError) as error:
                raise upload.refused or _failed(deployment, error) from error

    async def _exchange(
        self,
        visit: Visit,
        url: str,
        path: bytes,
        data: bytes | AsyncIterator[bytes],
        send: Send,
    ) -> None:
        begun = time.monotonic()
        request = self._session.request(
            visit.method,
            _url(url, path, visit.scope["query_string"]),
            headers=_outward(visit),
            data=_in_pieces(data) if isinstance(data, bytes) else data,
            allow_redirects=False,
        )
        async with request as response:
            self._metrics.upstream(visit, time.monotonic() - begun)
            await relay(response, visit.method, send, self._metrics)

    async def read(self, base: str, path: str, seconds: float) -> bytes:
        """What a deployment answers to a GET of ours.

        Raises:
            aiohttp.ClientError, OSError, asyncio.TimeoutError
        """
        timeout = aiohttp.ClientTimeout(total=seconds)
        url = _url(base, path.encode(), b"")
        async with self._session.get(url, timeout=timeout, raise_for_status=True) as response:
            return await response.read()


def session(connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
    """One that adds nothing to what it is given, and takes nothing off."""
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
        skip_auto_headers=("accept", "accept-encoding", "content-type", "user-agent"),
    )


async def relay(
    response: aiohttp.ClientResponse, method: str, send: Send, metrics: Metrics
) -> None:
    """Pass an answer on: a short one at once, any other piece by piece, as it comes."""
    head = {
        "type": "http.response.start",
        "status": response.status,
        "headers": _inward(response.raw_headers),
    }
    length = response.content_length
    if method == "HEAD" or (length is not None and length <= _SMALL_BYTES):
        body = await response.read()
        await send(head)
        await send({"type": "http.response.body", "body": body})
        return
    await send(head)
    with metrics.open_streams.track_inprogress() if length is None else contextlib.nullcontext():
        async for chunk in response.content.iter_any():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


class _Upload:
    """A request's body on its way. ``refused`` is why it was not passed on to its end."""

    def __init__(self, visit: Visit, limit: int) -> None:
        self._visit = visit
        self._limit = limit
        self._whole = asyncio.Event()
        self._whole.set()
        self.refused: Exception | None = None

    async def begin(self) -> bytes | AsyncIterator[bytes]:
        """The whole body where it is here already, else its pieces.

        Raises:
            ClientGone, SlowBody
        """
        first, more = await self._next()
        if not more:
            return first
        self._whole.clear()
        return self._pieces(first)

    async def _pieces(self, piece: bytes) -> AsyncIterator[bytes]:
        size, more = len(piece), True
        yield piece
        while more:
            piece, more = await self._next()
            size += len(piece)
            if size > self._limit:
                self.refused = too_large(self._limit)
                raise self.refused
            yield piece
        self._whole.set()

    async def _next(self) -> tuple[bytes, bool]:
        """As it comes, but not for ever: how long all of it may take, the deployment itself knows."""
        try:
            with body_deadline():
                message = await self._visit.receive()
        except SlowBody as error:
            self.refused = error
            raise
        if message["type"] == "http.disconnect":
            self.refused = ClientGone()
            raise self.refused
        return message.get("body", b""), message.get("more_body", False)

    async def gone(self) -> None:
        """Returns when the client has left."""
        await self._whole.wait()
        await self._visit.gone()


def _in_pieces(body: bytes) -> bytes | io.BytesIO | None:
    """A large body is not written in one go."""
    return io.BytesIO(body) if len(body) > _SMALL_BYTES else body or None


def _url(base: str, path: bytes, query: bytes) -> URL:
    asked = path + b"?" + query if query else path
    return URL(f"{base}{asked.decode('latin-1')}", encoded=True)


def _outward(visit: Visit) -> CIMultiDict[str]:
    """``Host`` stays: whether an ``Origin`` is foreign, the deployment knows by it. Cookies are the
    gateway's."""
    found = CIMultiDict(
        (name.decode("latin-1"), as_text(name, value))
        for name, value in _passed(visit.scope["headers"])
        if name != b"cookie"
    )
    found["x-request-id"] = visit.request_id
    return found


def as_text(name: bytes, value: bytes) -> str:
    """A header's value for aiohttp, which writes it as UTF-8: the bytes that came are those that go.

    Raises:
        MalformedRequest: it cannot pass unchanged.
    """
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise MalformedRequest(
            f"the header {name.decode('latin-1')} is not UTF-8",
            hint="send it in ASCII, or ask the deployment's own port",
        ) from error


def _inward(headers: tuple[tuple[bytes, bytes], ...]) -> Headers:
    return _passed([(name.lower(), value) for name, value in headers])


def _passed(headers: Headers) -> Headers:
    """Without those that are of one connection only."""
    named = {
        one.strip().lower()
        for name, value in headers
        if name == b"connection"
        for one in value.split(b",")
    }
    left_out = _HOPS | named if named else _HOPS
    return [(name, value) for name, value in headers if name not in left_out]


def _failed(deployment: Deployment, error: Exception) -> UpstreamFailed:
    log.warning("%s gave no whole answer: %r", deployment.name, error)
    return UpstreamFailed(
        f"the deployment {deployment.name!r} ended the connection before it had answered",
        hint=f"whether the request was run is not known; see modeldeploy logs {deployment.name}",
    )


def _endless() -> RequestTimeout:
    return RequestTimeout("the request took a day", hint="ask for less")
