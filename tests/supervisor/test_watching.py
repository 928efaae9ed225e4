"""Followers of all deployments hear at once what requests are routed by, and all else in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from modeldeploy.schema.control import Fleet
from modeldeploy.schema.deployment import Deployment
from modeldeploy.schema.states import State
from modeldeploy.supervisor import watching
from modeldeploy.supervisor.watching import Watch
from tests.cli.stories import deployment

SECONDS = 10.0


async def _next(followed: AsyncIterator[Fleet]) -> list[Deployment]:
    return (await asyncio.wait_for(followed.__anext__(), SECONDS)).deployments


def test_what_is_routed_by_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_PAUSE", 3600.0)  # what can wait is never told here
    views: list[Deployment] = []

    async def story() -> None:
        watch = Watch(lambda: [*views])
        followed = watch.follow()
        assert await _next(followed) == []
        views.append(deployment("a"))
        watch.tell_now()
        assert await _next(followed) == views
        hearing = asyncio.ensure_future(_next(followed))
        views[0] = deployment("a", memory_bytes=1)
        watch.tell_soon()
        await asyncio.sleep(0.01)
        assert not hearing.done()
        views[0] = deployment("a", state=State.STOPPED)
        watch.tell_now()
        assert await hearing == views
        await followed.aclose()  # type: ignore[attr-defined]  # it is a generator

    asyncio.run(story())


def test_all_else_is_told_when_the_pause_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_PAUSE", 0.05)
    views = [deployment("a")]

    async def story() -> None:
        watch = Watch(lambda: [*views])
        followed = watch.follow()
        await _next(followed)
        views[0] = deployment("a", memory_bytes=1)
        watch.tell_soon()
        assert await _next(followed) == views
        watch.close()
        with pytest.raises(StopAsyncIteration):
            await _next(followed)

    asyncio.run(story())


def test_a_follower_hears_now_and_then_though_nothing_happens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watching, "_HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr(watching, "_PAUSE", 0.01)

    async def story() -> None:
        followed = Watch(list).follow()
        for _ in range(3):
            assert await _next(followed) == []
        await followed.aclose()  # type: ignore[attr-defined]  # it is a generator

    asyncio.run(story())
