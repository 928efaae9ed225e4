"""Reports: progress comes at a pace, a change of phase at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from modeldeploy.schema.worker import WorkerReport
from modeldeploy.worker.http import insider
from modeldeploy.worker.state import WorkerState
from tests.worker.specs import worker_spec


async def told(reports: AsyncIterator[bytes]) -> WorkerReport:
    line = await asyncio.wait_for(anext(reports), 30)
    return msgspec.json.decode(line, type=WorkerReport)


def listen(
    scenario: Callable[[WorkerState, AsyncIterator[bytes]], Awaitable[None]], tmp_path: Path
) -> None:
    async def run() -> None:
        state = WorkerState(worker_spec(tmp_path, "echo", 1))
        await scenario(state, insider._reports(state))

    asyncio.run(run())


def test_that_the_model_is_ready_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(insider, "_SHORTEST_PAUSE", 600)

    async def scenario(state: WorkerState, reports: AsyncIterator[bytes]) -> None:
        assert (await told(reports)).phase == "loading"
        coming = asyncio.ensure_future(told(reports))
        state.update(fraction=0.5)
        done, _ = await asyncio.wait({coming}, timeout=0.1)
        assert not done
        state.update(phase="ready")
        assert (await coming).phase == "ready"

    listen(scenario, tmp_path)


def test_what_came_in_a_pause_is_told_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(insider, "_HEARTBEAT_SECONDS", 600)

    async def scenario(state: WorkerState, reports: AsyncIterator[bytes]) -> None:
        await told(reports)
        state.update(fraction=0.25)
        state.update(fraction=0.5)
        assert (await told(reports)).fraction == 0.5
        coming = asyncio.ensure_future(told(reports))
        await asyncio.sleep(2 * insider._SHORTEST_PAUSE)
        assert not coming.done()
        state.update()  # nothing is different, but whoever listens is to hear of it
        assert (await coming).fraction == 0.5

    listen(scenario, tmp_path)


def test_silence_is_broken_by_a_heartbeat_and_ends_with_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(insider, "_HEARTBEAT_SECONDS", 0.01)

    async def scenario(state: WorkerState, reports: AsyncIterator[bytes]) -> None:
        for _ in range(3):
            assert (await told(reports)).phase == "loading"
        state.end()
        assert [line async for line in reports] == []

    listen(scenario, tmp_path)
