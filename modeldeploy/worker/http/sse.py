"""Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html), written as
they come: everything that is there in one send."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from modeldeploy.web.incoming import ClientGone
from modeldeploy.worker.http.exchange import Exchange

_encode = msgspec.json.Encoder().encode
DONE = b"data: [DONE]\n\n"


def event(value: Any, name: str = "") -> bytes:
    """One event with ``value`` as JSON."""
    kind = f"event: {name}\n".encode() if name else b""
    return kind + b"data: " + _encode(value) + b"\n\n"


class EventStream(Response):
    """An answer of events. A client that leaves ends them, and with them the work behind."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[bytes], exchange: Exchange) -> None:
        super().__init__(headers={"cache-control": "no-store"})
        del self.headers["content-length"]
        self._events = events
        self._exchange = exchange

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        sending = asyncio.ensure_future(self._send_all(send))
        gone = asyncio.ensure_future(self._exchange.gone())
        try:
            await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                raise ClientGone
            sending.result()
        finally:
            gone.cancel()
            sending.cancel()
            await asyncio.wait({sending})

    async def _send_all(self, send: Send) -> None:
        async for chunk in self._events:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
