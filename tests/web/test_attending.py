"""What a request does ends when its time is over, or when nobody waits for it any more."""

from __future__ import annotations

import asyncio

import pytest

from modeldeploy.web import attending
from modeldeploy.web.attending import Attending


class _Left(Exception):
    pass


async def _never() -> None:
    await asyncio.Event().wait()


async def _at_once() -> None:
    pass


def test_what_takes_too_long_is_cancelled_and_said_to_be_late() -> None:
    ended = []

    async def story() -> None:
        try:
            with Attending(0.01, TimeoutError, _never, _Left):
                try:
                    await _never()
                except asyncio.CancelledError:
                    ended.append(True)
                    raise
        finally:
            await asyncio.sleep(0)  # the task itself goes on: it was not cancelled

    with pytest.raises(TimeoutError):
        asyncio.run(story())
    assert ended == [True]


def test_what_nobody_waits_for_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attending, "_SOON", 0.01)

    async def story() -> None:
        with Attending(60, TimeoutError, _at_once, _Left):
            await _never()

    with pytest.raises(_Left):
        asyncio.run(story())


def test_what_is_done_in_time_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attending, "_SOON", 0.01)

    async def story() -> int:
        with Attending(0.1, TimeoutError, _never, _Left):
            await asyncio.sleep(0.05)
        with Attending(0.1, TimeoutError):
            pass
        await asyncio.sleep(0.15)  # beyond what it was given
        return len(asyncio.all_tasks())

    assert asyncio.run(story()) == 1


def test_who_is_cancelled_from_without_is_not_said_to_be_late() -> None:
    async def story() -> None:
        async def work() -> None:
            with Attending(60, TimeoutError, _never, _Left):
                await _never()

        task = asyncio.ensure_future(work())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(story())
