"""Who sends slowly or nothing at all is cut. Deadlines are shortened for the test."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from modeldeploy.errors import BodyTooLarge, QueueFull, SlowBody
from modeldeploy.transport import private_listener
from modeldeploy.web import connections, incoming, servers
from modeldeploy.web.incoming import ClientGone
from modeldeploy.web.room import LITTLE, Room
from modeldeploy.worker.http.exchange import Exchange


def _exchange(*chunks: bytes, then: str = "end", **headers: str) -> Exchange:
    waiting = list(chunks)

    async def receive() -> Any:
        if waiting:
            body = waiting.pop(0)
            return {
                "type": "http.request",
                "body": body,
                "more_body": bool(waiting) or then != "end",
            }
        if then == "silence":
            await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Exchange({"type": "http", "headers": named}, receive)


def test_a_body_comes_in_pieces() -> None:
    assert asyncio.run(_exchange(b"ab", b"", b"c").body(3)) == b"abc"


@pytest.mark.promise(18, fault="a body that never ends")
def test_a_body_that_never_ends_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "_BODY_SECONDS", 0.05)
    with pytest.raises(SlowBody) as refused:
        asyncio.run(_exchange(b"a", then="silence").body(100))
    assert refused.value.status == 408


def test_a_client_that_leaves_in_the_middle_is_gone() -> None:
    with pytest.raises(ClientGone):
        asyncio.run(_exchange(b"a", then="leaves").body(100))


def test_nothing_is_read_of_a_body_that_says_it_is_too_large() -> None:
    asked = _exchange(then="silence", content_length="101")
    with pytest.raises(BodyTooLarge):
        asyncio.run(asyncio.wait_for(asked.body(100), 1))


async def _app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\n", b"GET / HTTP/1.1\r\n\r\nGET /"]
)
@pytest.mark.promise(18, fault="a head that never ends")
def test_a_head_that_never_ends_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)

    async def story() -> bytes:
        path = tmp_path / "s"
        server = servers.server(_app, 1)
        serving = asyncio.ensure_future(server.serve([private_listener(path)]))
        while not server.started:
            await asyncio.sleep(0.01)
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(sent)
        heard = await asyncio.wait_for(reader.read(), 5)  # until it is closed
        writer.close()
        server.should_exit = True
        await serving
        return heard

    assert asyncio.run(story()).count(b"HTTP/1.1 204") == sent.count(b"\r\n\r\n")


def test_bodies_together_hold_no_more_than_they_may() -> None:
    room = Room(5, lambda: 1)
    first = _exchange(bytes(LITTLE) + b"ab", b"c")
    assert len(asyncio.run(first.body(10**6, room))) == LITTLE + 3
    second = _exchange(bytes(LITTLE) + b"de", b"f")
    with pytest.raises(QueueFull):
        asyncio.run(second.body(10**6, room))
    held = (first.held - LITTLE, second.held - LITTLE, room.taken)
    assert held == (3, 2, 5)  # what was taken is given back by each
