"""Answers and bodies pass as they come: at once, bounded, and no longer than somebody waits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from starlette.types import Receive, Scope, Send

from tests.gateway.door import door, tell

_EVENTS = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/event-stream")],
}


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def test_each_token_is_there_before_the_next_is_written(tmp_path: Path) -> None:
    read = asyncio.Semaphore(0)

    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        await send(_EVENTS)
        for number in range(5):
            body = f"data: {number}\n\n".encode()
            await send({"type": "http.response.body", "body": body, "more_body": True})
            await read.acquire()  # the next is not written before the client has this one
        await send({"type": "http.response.body", "body": b""})

    async def story() -> None:
        async with (
            door(tmp_path, {"a": upstream}) as one,
            one.session.post(f"{one.url}/deployments/a/predict") as answer,
        ):
            for number in range(5):
                assert await answer.content.readuntil(b"\n\n") == f"data: {number}\n\n".encode()
                read.release()
            assert await answer.read() == b""

    tell(story)


@pytest.mark.parametrize("begun", [False, True], ids=["before the answer", "in the answer"])
@pytest.mark.parametrize("path", ["/deployments/a/predict", "/v1/completions"])
@pytest.mark.promise(18, fault="a client leaves at the front door")
def test_a_client_that_leaves_ends_what_is_done_for_it(
    path: str, begun: bool, tmp_path: Path
) -> None:
    here, left = asyncio.Event(), asyncio.Event()

    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if begun:
            await send(_EVENTS)
            await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        here.set()
        await _until_gone(receive)
        left.set()

    async def story() -> None:
        async with door(tmp_path, {"a": upstream}) as one:
            body = {"model": "a"}
            asking = asyncio.ensure_future(one.session.post(f"{one.url}{path}", json=body))
            await here.wait()
            if begun:
                (await asking).close()
            asking.cancel()
            await left.wait()
            with contextlib.suppress(asyncio.CancelledError):
                await asking

    tell(story)


def test_a_slow_reader_slows_the_deployment_down(tmp_path: Path) -> None:
    chunk, chunks = bytes(1 << 16), 1024  # 64 MiB
    sent = 0

    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await send(_EVENTS)
        for _ in range(chunks):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            sent += len(chunk)
        await send({"type": "http.response.body", "body": b""})

    async def story() -> None:
        async with (
            door(tmp_path, {"a": upstream}) as one,
            one.session.get(f"{one.url}/deployments/a/x") as answer,
        ):
            before = -1
            while sent != before:  # until nobody takes any more
                before = sent
                await asyncio.sleep(0.3)
            assert sent < len(chunk) * chunks / 2
            assert len(await answer.read()) == len(chunk) * chunks

    tell(story)


def test_a_body_is_passed_on_while_it_comes(tmp_path: Path) -> None:
    heard = asyncio.Event()
    whole: list[bytes] = []

    async def upstream(scope: Scope, receive: Receive, send: Send) -> None:
        more = True
        while more:
            message = await receive()
            whole.append(message.get("body", b""))
            heard.set()
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        await heard.wait()
        yield b"second"

    async def story() -> None:
        async with door(tmp_path, {"a": upstream}) as one:
            status, _, _ = await one.ask("POST", "/deployments/a/predict", data=pieces())
        assert (status, b"".join(whole)) == (204, b"firstsecond")

    tell(story)


@pytest.mark.promise(
    3, fault="a worker breaks off before and within its answer (through the gateway)"
)
def test_a_deployment_that_breaks_off_is_502_or_cuts_the_answer_off(tmp_path: Path) -> None:
    async def before(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async def within(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await writer.drain()
        writer.close()

    async def story() -> None:
        async with (
            door(tmp_path, {"a": _nobody, "b": _nobody}) as one,
            await asyncio.start_server(before, "127.0.0.1", 0) as a,
            await asyncio.start_server(within, "127.0.0.1", 0) as b,
        ):
            for name, server in (("a", a), ("b", b)):
                one.change(name, port=server.sockets[0].getsockname()[1])
            status, _, raw = await one.ask("POST", "/deployments/a/predict", data=b"{}")
            assert (status, b"upstream_failed" in raw) == (502, True)
            with pytest.raises(aiohttp.ClientPayloadError):
                await one.ask("POST", "/deployments/b/predict", data=b"{}")

    tell(story)


async def _nobody(scope: Scope, receive: Receive, send: Send) -> None:
    """Never asked."""
