"""A call waits for company as long as a deployment says, and for nothing else."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from modeldeploy.worker.adapter import BatchLimits
from modeldeploy.worker.batching import batcher as batching
from modeldeploy.worker.batching import front
from modeldeploy.worker.batching.batcher import Batcher
from tests.worker.batching.stories import Model, asked_of, items, run, until

LONG = 10.0  # seconds of a window: who waits for its end fails the test


def test_within_the_window_a_call_waits_until_it_is_full() -> None:
    async def story(model: Model, batcher: Batcher) -> None:
        begun = time.monotonic()
        asked = await asked_of(batcher, items("one"), items("two"))
        await asyncio.sleep(0.05)
        assert not model.batches
        assert batcher.calls == "of up to 3 inputs, waiting 10 s for company"
        await asyncio.gather(*asked, *await asked_of(batcher, items("three"), items(*range(3))))
        assert time.monotonic() - begun < LONG

    found = run(story, BatchLimits(items=3), window=LONG).batches
    assert found == [["one", "two", "three"], [0, 1, 2]]


def test_a_full_call_does_not_wait_for_the_company_of_another() -> None:
    async def story(model: Model, batcher: Batcher) -> None:
        begun = time.monotonic()
        (alone,) = await asked_of(batcher, items("alone"))
        await asyncio.gather(*await asked_of(batcher, items(1, 2, key="other")))
        assert model.batches == [[1, 2]]
        assert time.monotonic() - begun < LONG
        alone.cancel()

    run(story, BatchLimits(items=2), window=LONG)


@pytest.mark.parametrize("sizes", [{"size": 30, "padded": False}, {"items": 1}, {"size": 25}])
def test_a_call_that_no_other_fits_into_is_full(sizes: dict[str, Any]) -> None:
    async def story(model: Model, batcher: Batcher) -> None:
        begun = time.monotonic()
        await asyncio.gather(*await asked_of(batcher, items(1, 2, 3, size=10)))
        assert time.monotonic() - begun < LONG

    run(story, BatchLimits(**{"items": 32, **sizes}), window=LONG if "items" in sizes else 0.3)


def test_who_found_no_company_is_served_at_the_end_of_the_window() -> None:
    async def story(model: Model, batcher: Batcher) -> None:
        begun = time.monotonic()
        await batcher.run(items("alone"))
        assert time.monotonic() - begun >= 0.1

    assert run(story, window=0.1).batches == [["alone"]]


def test_the_time_behind_another_call_counts_as_waiting() -> None:
    async def story(model: Model, batcher: Batcher) -> None:
        model.gate.clear()
        asked = await asked_of(batcher, items(1, 2))
        await until(lambda: bool(model.batches))
        (late,) = await asked_of(batcher, items("late"))
        await asyncio.sleep(0.3)
        begun = time.monotonic()
        model.gate.set()
        await asyncio.gather(*asked, late)
        assert time.monotonic() - begun < 0.3

    run(story, BatchLimits(items=2), window=0.3)


def test_a_window_holds_up_neither_jobs_nor_the_end() -> None:
    async def story(model: Model, batcher: Batcher) -> None:
        begun = time.monotonic()
        (asked,) = await asked_of(batcher, items("alone"))
        job = asyncio.wrap_future(batcher.between(lambda: list(model.batches)))
        assert await job == []
        batcher.close()
        assert (await asked).raws == ["alone"]
        assert time.monotonic() - begun < LONG

    run(story, window=LONG)


def test_a_window_that_a_change_of_limits_fills_is_over() -> None:
    async def story(model: Model, batcher: Batcher) -> None:
        begun = time.monotonic()
        asked = await asked_of(batcher, items("one"), items("two"))
        batcher.use(BatchLimits(items=2))
        await asyncio.gather(*asked)
        assert time.monotonic() - begun < LONG

    assert run(story, window=LONG).batches == [["one", "two"]]


class Clock:
    """Requests come at 0; the inference thread's first look is just before a window's end, and all
    others are after it."""

    looks = 0

    def monotonic(self) -> float:
        if threading.current_thread().name != "inference":
            return 0.0
        self.looks += 1
        return LONG + (1.0 if self.looks > 1 else -1e-6)


def test_a_window_that_ends_between_two_looks_at_the_clock_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    for module in (front, batching):
        monkeypatch.setattr(module, "time", clock)

    async def story(model: Model, batcher: Batcher) -> None:
        (asked,) = await asked_of(batcher, items("alone"))
        await asyncio.wait_for(asked, LONG)

    assert run(story, window=LONG).batches == [["alone"]]
