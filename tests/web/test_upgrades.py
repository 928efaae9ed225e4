"""Who asks for another protocol is answered in this one, as if he had not: his body is his body."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

import pytest

from modeldeploy.web import connections, servers

BODY = b"GET /inner HTTP/1.1\r\nhost: a\r\n\r\n"  # read as a request it would be answered
H2C = b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n"
WEBSOCKET = b"upgrade: websocket\r\nConnection: Upgrade\r\nsec-websocket-version: 13\r\n"
ASKS = pytest.mark.parametrize("asks", [H2C, WEBSOCKET, b""])


async def _echo(scope: Any, receive: Any, send: Any) -> None:
    """The path and the body, in braces."""
    said, more = b"{" + scope["path"].encode(), True
    assert b"upgrade" not in dict(scope["headers"])
    while more:
        message = await receive()
        said += message["body"]
        more = message.get("more_body", False)
    said += b"}"
    headers = [(b"content-length", b"%d" % len(said))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": said})


def answers(*pieces: bytes) -> bytes:
    """To what comes in these pieces, on one connection that is closed then."""

    async def story() -> bytes:
        listener = socket.create_server(("127.0.0.1", 0))
        server = servers.server(_echo, 1)
        serving = asyncio.ensure_future(server.serve([listener]))
        while not server.started:
            await asyncio.sleep(0.01)
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        heard = b""
        with contextlib.suppress(ConnectionResetError):  # it was closed before all was read
            while piece := await asyncio.wait_for(reader.read(4096), 10):
                heard += piece
        writer.close()
        server.should_exit = True
        await serving
        return heard

    return asyncio.run(story())


def post(path: bytes, asks: bytes, *, chunked: bool = False) -> bytes:
    framing = b"transfer-encoding: chunked" if chunked else b"content-length: %d" % len(BODY)
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY) if chunked else BODY
    return b"POST %s HTTP/1.1\r\nhost: a\r\n%s%s\r\n\r\n%s" % (path, asks, framing, body)


LAST = b"GET /last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"


@ASKS
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.promise(17, fault="a request for another protocol (Upgrade) with another in its body")
def test_its_body_is_no_request(asks: bytes, chunked: bool, size: int) -> None:
    sent = post(b"/a", asks, chunked=chunked) + post(b"/b", asks) + LAST
    heard = answers(*(sent[at : at + size] for at in range(0, len(sent), size)))
    assert [one.partition(b"}")[0] for one in heard.split(b"{")[1:]] == [
        b"/a" + BODY,
        b"/b" + BODY,
        b"/last",
    ]


@ASKS
def test_without_a_body_it_is_answered_too(asks: bytes) -> None:
    get = b"GET /a HTTP/1.1\r\nhost: a\r\n%s\r\n" % asks
    assert answers(get + get, LAST).count(b"{/a}") == 2


def test_many_at_once_are_refused_like_others() -> None:
    heard = answers(post(b"/a", H2C) * 1000)
    assert heard.count(b"HTTP/1.1") <= connections.MOST_PIPELINED + 2


@pytest.mark.parametrize("target", [b"a.test:443", b"/predict"])
def test_there_is_no_proxy(target: bytes) -> None:
    heard = answers(b"CONNECT %s HTTP/1.1\r\nhost: a\r\n\r\n%s" % (target, BODY))
    assert heard.startswith(b"HTTP/1.1 400")
    assert heard.count(b"HTTP/1.1") == 1
