"""How answers become bytes."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import NotModifiedResponse
from starlette.types import Message, Send

from modeldeploy.web.incoming import Incoming

_HEAR_OUT_SECONDS = 2.0
_encode = msgspec.json.Encoder().encode


def json_answer(value: Any, status: int = 200) -> Response:
    return Response(_encode(value), status, media_type="application/json")


def unless_known(request: Request, response: Response) -> Response:
    """``response``, which has an ``ETag``; 304 where the client says that it has that already."""
    given = request.headers.get("if-none-match", "").split(",")
    known = response.headers["etag"] in {tag.strip().removeprefix("W/") for tag in given}
    return NotModifiedResponse(response.headers) if known else response


async def answer_and_hear_out(response: Response, request: Incoming, send: Send) -> None:
    """Answer at once, then read on a little before closing: a client that is still sending
    would otherwise meet a reset connection instead of the answer."""

    async def held(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "more_body": True}
        await send(message)

    async def hear_out() -> None:
        while True:
            message = await request.receive()
            if message["type"] == "http.disconnect" or not message.get("more_body", False):
                return

    response.headers["connection"] = "close"
    await response(request.scope, request.receive, held)
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(hear_out(), _HEAR_OUT_SECONDS)
    await send({"type": "http.response.body", "body": b"", "more_body": False})
