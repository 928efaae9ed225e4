"""Bodies at the front door: none too large, and not too much of them together."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from modeldeploy.errors import QueueFull
from modeldeploy.gateway.bodies import Bodies
from modeldeploy.gateway.visit import Visit
from modeldeploy.web.room import LITTLE
from tests.gateway.door import LIMIT, Echo, door, tell

JSON = {"content-type": "application/json"}


def test_a_large_form_holds_nobody_up_and_counts_while_it_is_read() -> None:
    limit = 4 << 20
    file = b"\0" * (limit - 1000)
    body = (
        b'--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'
        + file
        + b'\r\n--x\r\ncontent-disposition: form-data; name="model"\r\n\r\nm\r\n--x--\r\n'
    )

    async def receive() -> Any:
        return {"type": "http.request", "body": body}

    async def story() -> None:
        headers = [(b"content-type", b"multipart/form-data; boundary=x")]
        visit = Visit({"method": "POST", "raw_path": b"/v1/x", "headers": headers}, receive)
        bodies = Bodies(limit)
        turns: list[int] = []

        async def others() -> None:
            while True:
                turns.append(bodies.room.taken)
                await asyncio.sleep(0)

        beside = asyncio.ensure_future(others())
        async with bodies.read(visit) as (_, named):
            beside.cancel()
            assert (named, bodies.room.taken) == ("m", len(body) - LITTLE)
        assert len(turns) > 10
        assert max(turns) == 2 * len(body) - LITTLE
        assert bodies.room.taken == 0

    tell(story)


def test_a_body_past_the_limit_is_refused_before_it_is_passed_on(tmp_path: Path) -> None:
    async def story() -> None:
        async with door(tmp_path, {"a": Echo("a")}) as one:
            for path in ("/deployments/a/predict", "/v1/embeddings"):
                status, _, raw = await one.ask(
                    "POST", path, data=io.BytesIO(bytes(LIMIT + 1)), headers=JSON
                )
                assert (status, json.loads(raw)["error"]["code"]) == (413, "body_too_large"), path

    tell(story)


def test_a_body_that_grows_past_the_limit_on_the_way_is_refused_too(tmp_path: Path) -> None:
    async def story() -> None:
        async def pieces() -> Any:
            for _ in range(LIMIT // 1000):
                yield bytes(2000)

        async with door(tmp_path, {"a": Echo("a")}) as one:
            for path in ("/deployments/a/predict", "/v1/embeddings"):
                try:
                    status, _, _ = await one.ask("POST", path, data=pieces(), headers=JSON)
                except aiohttp.ClientOSError:  # it had not read the answer when it was cut off
                    continue
                assert status == 413, path

    tell(story)


def test_bodies_that_are_read_whole_are_bounded_together() -> None:
    body = json.dumps({"model": "m", "text": "x" * 100 * LITTLE}).encode()

    def visit() -> Visit:
        async def receive() -> Any:
            return {"type": "http.request", "body": body}

        headers = [(b"content-type", b"application/json")]
        return Visit({"method": "POST", "raw_path": b"/v1/x", "headers": headers}, receive)

    async def story() -> None:
        bodies = Bodies(limit=len(body))
        for _ in range(2):
            async with contextlib.AsyncExitStack() as stack:
                for _ in range(8):
                    found = await stack.enter_async_context(bodies.read(visit()))
                    assert found == (body, "m")
                with pytest.raises(QueueFull):
                    await stack.enter_async_context(bodies.read(visit()))

    tell(story)


@pytest.mark.promise(
    18, fault="nine large bodies that stall one byte before their end, at the gateway"
)
def test_who_stalls_shuts_nobody_out(tmp_path: Path) -> None:
    body = json.dumps({"model": "org/a", "input": "x"})
    head = "POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"

    async def story() -> None:
        async with door(tmp_path, {"a": Echo("a")}) as one:
            writers = []
            for _ in range(9):
                _, writer = await asyncio.open_connection("127.0.0.1", one.port)
                writer.write(f"{head}content-length: {LIMIT}\r\n\r\n".encode() + b" " * (LIMIT - 1))
                await writer.drain()
                writers.append(writer)
            await asyncio.sleep(0.1)
            answers = [
                await one.ask("POST", "/v1/embeddings", data=body, headers=JSON) for _ in range(20)
            ]
            for writer in writers:
                writer.close()
        assert [status for status, *_ in answers] == [203] * 20

    tell(story)


def test_a_wish_for_another_protocol_stays_at_the_door(tmp_path: Path) -> None:
    async def story() -> None:
        echo = Echo("a")
        wish = {"connection": "upgrade, http2-settings", "upgrade": "h2c", "http2-settings": "x"}
        async with door(tmp_path, {"a": echo}) as one:
            for path in ("/deployments/a/predict", "/v1/embeddings"):
                body = b'{"model": "org/a"}'
                status, *_ = await one.ask("POST", path, data=body, headers={**JSON, **wish})
                assert (status, echo.asked[-1]["body"]) == (203, body)
                assert not wish.keys() - {"connection"} & echo.asked[-1]["headers"].keys()

    tell(story)
