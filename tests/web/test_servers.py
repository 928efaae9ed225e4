"""Clients that keep a connection without asking anything, that send what no request is made of, and that
do not read. Deadlines are shortened for the test."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvloop

from modeldeploy.web import connections, servers

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
CHUNKED = b"POST /read HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
WAIT = GET.replace(b"/ ", b"/wait ")
LARGE = 8 << 20


class App:
    """Answers at once; ``/read`` when the body is here; ``/wait`` never; ``/large`` with much;
    ``/stream`` without saying with how much."""

    def __init__(self) -> None:
        self.headers: list[dict[bytes, bytes]] = []
        self.ended = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.headers.append(dict(scope["headers"]))
        more = scope["path"] in {"/read", "/wait"}
        while more:
            message = await receive()
            gone = message["type"] == "http.disconnect"
            more = not gone if scope["path"] == "/wait" else message.get("more_body", False)
        body = b"x" * (LARGE if scope["path"] == "/large" else 1)
        length = [(b"content-length", str(len(body)).encode())] * (scope["path"] != "/stream")
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        self.ended += 1


@contextlib.asynccontextmanager
async def served(app: App) -> AsyncIterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = servers.server(app, 1)
    serving = asyncio.ensure_future(server.serve([listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    yield listener.getsockname()[1]
    server.should_exit = True
    await serving


async def until_closed(port: int, *sent: bytes) -> tuple[bytes, float]:
    """What is answered until the connection is cut, and how long that took after the last piece; each
    but the first is sent when something was answered to the one before."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    heard = b""
    for piece in sent[:-1]:
        writer.write(piece)
        heard += await reader.readuntil(b"\r\n\r\nx")
    writer.write(sent[-1])
    began = time.monotonic()
    try:
        heard += await asyncio.wait_for(reader.read(), 5)
    except ConnectionError:  # cut in the middle of what we send
        pass
    finally:
        writer.close()
    return heard, time.monotonic() - began


@pytest.mark.promise(18, fault="a connection on which nothing is asked any more")
@pytest.mark.parametrize(
    "after",
    [
        pytest.param((GET, b""), id="nothing"),
        pytest.param((GET, b"\r\n"), id="an empty line"),
        pytest.param(
            (GET.replace(b"\r\n\r\n", b"\r\ncontent-length: 99\r\n\r\n"), b"x"), id="a body"
        ),
        pytest.param(
            (GET.replace(b"\r\n\r\n", b"\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"), b"x"),
            id="another protocol",
        ),
    ],
)
def test_a_connection_that_asks_nothing_is_cut(
    monkeypatch: pytest.MonkeyPatch, after: tuple[bytes, ...]
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(servers, "KEEP_ALIVE_SECONDS", 0.3)

    async def story() -> tuple[bytes, float]:
        async with served(App()) as port:
            return await until_closed(port, *after)

    _, seconds = asyncio.run(story())
    assert seconds < 3


def test_who_asks_again_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by the deadline of the rest of a body that was answered before it came."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    unread = GET.replace(b"\r\n\r\n", b"\r\ncontent-length: 2\r\n\r\n")

    async def story() -> bytes:
        async with served(App()) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for piece in (unread, b"xy\r\n" + GET):
                writer.write(piece)
                heard = await reader.readuntil(b"\r\n\r\nx")
                await asyncio.sleep(0.4 if piece is not unread else 0)
            writer.write(GET)
            heard += await reader.readuntil(b"\r\n\r\nx")
            writer.close()
            return heard

    assert asyncio.run(story()).count(b"200 OK") == 2


def test_an_answer_to_http_1_0_ends_with_the_connection() -> None:
    async def story(path: bytes) -> bytes:
        async with served(App()) as port:
            heard, _ = await until_closed(port, b"GET %s HTTP/1.0\r\nhost: a\r\n\r\n" % path)
            return heard

    head, _, body = asyncio.run(story(b"/stream")).partition(b"\r\n\r\n")
    assert (body, b"transfer-encoding" in head, b"connection: close" in head) == (b"x", False, True)
    head, _, body = asyncio.run(story(b"/")).partition(b"\r\n\r\n")
    assert (body, b"content-length: 1" in head) == (b"x", True)


@pytest.mark.promise(17, fault="megabytes behind a body, which no request is made of")
@pytest.mark.parametrize("piece", [b"host: evil\r\n" * 5000, b"x" * 65536], ids=["many", "one"])
def test_trailers_are_bounded(piece: bytes) -> None:
    async def story() -> int:
        sent = 0
        async with served(App()) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(CHUNKED + b"x-first: ")
            with contextlib.suppress(ConnectionError):
                while sent < 20_000_000:
                    writer.write(piece)
                    sent += len(piece)
                    await writer.drain()
            writer.close()
        return sent

    assert asyncio.run(story()) < 20_000_000


@pytest.mark.promise(21, fault="a Host behind the body (a trailer)")
def test_a_trailer_is_no_header() -> None:
    app = App()

    async def story() -> bytes:
        async with served(app) as port:
            heard, _ = await until_closed(
                port, CHUNKED + b"host: evil\r\nx-api-key: k\r\n\r\n", b"nonsense\r\n"
            )
            return heard

    assert asyncio.run(story()).startswith(b"HTTP/1.1 200")
    assert app.headers == [{b"host": b"a", b"transfer-encoding": b"chunked"}]


@pytest.mark.promise(17, fault="thousands of requests sent at once on one connection")
def test_requests_that_wait_for_each_other_are_bounded() -> None:
    app = App()

    async def story() -> None:
        async with served(app) as port:
            _, seconds = await until_closed(port, WAIT + GET * 5000)
            assert seconds < 3
            await ended(app)

    asyncio.run(story())
    assert len(app.headers) == 1


@pytest.mark.promise(18, fault="a client leaves that has sent a second request behind its first")
@pytest.mark.parametrize("pause", [0, 0.1], ids=["together", "apart"])
def test_who_leaves_has_left_with_all_its_requests(pause: float) -> None:
    app = App()

    async def story() -> None:
        async with served(app) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(WAIT)
            await asyncio.sleep(pause)
            writer.write(GET)
            await asyncio.sleep(0.1)
            writer.close()
            await ended(app)

    asyncio.run(story())


async def ended(app: App, seconds: float = 1) -> None:
    """Until it is done with its first request."""
    for _ in range(round(seconds / 0.05)):
        await asyncio.sleep(0.05)
        if app.ended:
            return
    raise AssertionError("nobody told it that the client has left")


@pytest.mark.promise(18, fault="a client that does not read its answer")
def test_who_does_not_read_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "STALL_SECONDS", 0.3)
    app = App()

    async def story() -> None:
        async with served(app) as port:
            with socket.socket() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.connect(("127.0.0.1", port))
                client.sendall(GET.replace(b"/ ", b"/large "))
                await asyncio.sleep(0.2)
                assert not app.ended, "what is on its way does not count as taken"
                await ended(app, 5)

    asyncio.run(story())


def test_who_reads_slowly_gets_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "STALL_SECONDS", 0.3)

    async def story() -> int:
        size = 0
        async with served(App()) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 16)
            writer.write(
                GET.replace(b"/ ", b"/large ").replace(b"a\r", b"a\r\nconnection: close\r")
            )
            while piece := await reader.read(400_000):
                size += len(piece)
                await asyncio.sleep(0.02)
            writer.close()
        return size

    assert asyncio.run(story()) > LARGE


@pytest.mark.promise(5, fault="a starved server is told to end with connections in its queue")
def test_who_waits_in_the_queue_of_a_server_that_ends_is_answered() -> None:
    async def scenario() -> list[bytes]:
        listener = socket.create_server(("127.0.0.1", 0))
        with listener.dup() as held:  # as the supervisor does, who closes it last
            server = servers.server(App(), 1)
            serving = asyncio.ensure_future(server.serve([listener]))
            while not server.started:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.11)
            server.should_exit = True
            clients = [socket.create_connection(held.getsockname(), timeout=5) for _ in range(40)]
            for client in clients:
                client.sendall(GET)
            time.sleep(0.2)  # the loop is not given its turn
            await serving
        answers = []
        for client in clients:
            with client, contextlib.suppress(ConnectionError):
                answers.append(client.recv(1024))
        return answers

    answers = uvloop.run(scenario())  # as workers do
    assert [answer[:15] for answer in answers] == [b"HTTP/1.1 200 OK"] * 40
