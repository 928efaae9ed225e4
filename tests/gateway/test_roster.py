"""What the supervisor tells is known, outlives it, and is told anew by the next."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
from starlette.types import Receive, Scope, Send

from modeldeploy.client import Client
from modeldeploy.gateway.roster import Roster
from modeldeploy.schema.control import Fleet
from modeldeploy.transport import private_listener
from tests.cli.stories import deployment
from tests.gateway.door import served, tell


async def _until(roster: Roster, heard: bool, *names: str) -> None:
    while (roster.is_heard, [one.name for one in roster.all()]) != (heard, [*names]):
        await asyncio.sleep(0.01)


class Supervisor:
    """Tells of deployments of these names, one line each time there are others."""

    def __init__(self, *names: str) -> None:
        self._told: asyncio.Queue[tuple[str, ...] | None] = asyncio.Queue()
        self._told.put_nowait(names)

    def now(self, *names: str) -> None:
        self._told.put_nowait(names)

    def end(self) -> None:
        self._told.put_nowait(None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["path"] == "/v1/watch"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while names := await self._told.get():
            line = msgspec.json.encode(Fleet(deployments=[deployment(name) for name in names]))
            await send({"type": "http.response.body", "body": line + b"\n", "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def test_it_follows_one_supervisor_after_the_other(tmp_path: Path) -> None:
    async def story() -> None:
        socket = tmp_path / "control.sock"
        roster = Roster(Client(socket))
        await roster.known(0.01)  # nobody tells: it is not waited for for ever
        roster.start()
        first, second = Supervisor("a"), Supervisor("b", "c")
        async with served(first, private_listener(socket)):
            await roster.known(10)
            await _until(roster, True, "a")
            first.now("a", "b")
            await _until(roster, True, "a", "b")
            first.end()
            await _until(roster, False, "a", "b")  # what it left is served on
        async with served(second, private_listener(socket)):
            await _until(roster, True, "b", "c")
            roster.close()
            second.end()

    tell(story)
