"""How much goes into a call: chosen by what calls took, one of them between two of the requests'."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError
from itertools import pairwise
from typing import Any

import pytest

from modeldeploy.schema.computing import Batching
from modeldeploy.worker.adapter import BatchLimits, Item
from modeldeploy.worker.batching.batcher import Batcher
from modeldeploy.worker.batching.curve import Measuring, Point, best, grown, words
from modeldeploy.worker.tasks.echo import Echo

SIZES = (64, 128, 256, 512, 1024)
TOKENS = BatchLimits(items=64, size=256, unit="tokens")


@pytest.mark.parametrize(
    ("rates", "tried", "chosen"),
    [
        ([1000, 2000, 4000, 8000, 16000], 5, 1024),  # the cost is all in the call
        ([1000, 1000, 1000, 1000, 1000], 3, 64),  # and here in the tokens
        ([3100, 3900, 4200, 4400, 4400], 5, 512),
        ([3100, 3900, 4300, 4380, 4390], 5, 256),  # 2 % less than the best
        ([10000, 10100, 14000, 14050, 14100], 5, 256),  # one that brings nothing is no end
        ([1000, 1500, 1200, 1100, 9000], 4, 128),  # two are
        ([200, 250, 300, 350, 400], 1, 64),  # the first takes 0.3 s
        ([500, 800, 1000, 1500, 2000], 3, 256),  # the third does
    ],
)
def test_the_smallest_of_the_cheap_sizes_is_chosen(
    rates: list[float], tried: int, chosen: int
) -> None:
    took = dict(zip(SIZES, rates, strict=True))
    points = grown(SIZES, lambda size: size / took[size])
    assert [point.size for point in points] == list(SIZES[:tried])
    assert best(points) == chosen


def test_what_was_measured_is_told_in_words() -> None:
    points = [Point(64, 64 / 3100), Point(1024, 1024 / 4400)]
    assert words(points, "tokens") == "64: 3,100 tokens/s, 1,024: 4,400"
    assert words([Point(1, 0.08), Point(2, 0.1)], "") == "1: 12, 2: 20"


class Model(Echo):
    """Each call costs a second of a fake clock's and a hundredth more for each token; ``held`` is
    waited for in the first trial of all."""

    trials = (10, 100, 1000)

    def __init__(self, limits: BatchLimits = TOKENS) -> None:
        self.batch = limits
        self.now = 0.0
        self.told: list[Any] = []
        self.held = threading.Event()
        self.held.set()

    def clock(self) -> float:
        return self.now

    def weigh(self, seconds: Callable[[Callable[[], None]], float]) -> None:
        self.told.append("weighed")

    def trial(self, size: int, example: list[Item]) -> None:
        self.told.append(size)
        self.held.wait(10)
        self.now += (1 + size / 100) / 1000

    def core(self, items: list[Item]) -> list[Any]:
        self.told.append("request")
        return [None] * len(items)


def run(
    model: Model,
    story: Callable[[Batcher, Measuring], Awaitable[None]],
    wanted: Callable[[], bool] = lambda: True,
    **fixed: Any,
) -> None:
    async def tell() -> None:
        front = model.front(10, lambda count: None, Batching(**fixed))
        assert isinstance(front, Batcher)
        try:
            measuring = Measuring(model, front, [], wanted, model.clock)
            await asyncio.wait_for(story(front, measuring), 20)
        finally:
            model.held.set()
            front.close()

    asyncio.run(tell())


async def _measured(front: Batcher, measuring: Measuring) -> None:
    await asyncio.to_thread(measuring.run)


def test_the_front_uses_what_was_found_and_tells_it() -> None:
    model = Model()

    async def story(front: Batcher, measuring: Measuring) -> None:
        assert front.calls == "of up to 64 inputs and 256 tokens"
        await _measured(front, measuring)
        assert front.limits == BatchLimits(items=64, size=1000, unit="tokens")
        assert front.calls == (
            "of up to 64 inputs and 1,000 tokens "
            "(measured: 10: 9,091 tokens/s, 100: 50,000, 1,000: 90,909)"
        )

    run(model, story)
    assert model.told == ["weighed", 10, 10, 100, 100, 1000, 1000]


def test_while_somebody_asks_requests_have_three_times_as_long_as_a_call_takes() -> None:
    model, waits = Model(), list[float]()

    async def story(front: Batcher, measuring: Measuring) -> None:
        busy = iter([0.0, 0.0, 1.0, 1.5])  # before and after each of the first two calls
        seen = property(lambda self: next(busy, 2.0))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Batcher, "busy_seconds", seen)
            await asyncio.to_thread(
                Measuring(model, front, [], lambda: True, model.clock, waits.append).run
            )

    run(model, story)
    assert waits == pytest.approx([3 * 0.0011])


def test_the_faster_of_two_calls_counts() -> None:
    class Disturbed(Model):
        def trial(self, size: int, example: list[Item]) -> None:
            super().trial(size, example)
            self.now += 0.2 * (self.told.count(size) % 2)

    async def story(front: Batcher, measuring: Measuring) -> None:
        await _measured(front, measuring)
        assert front.limits.size == 1000
        assert "10: 9,091 tokens/s" in front.calls

    run(Disturbed(), story)


def test_another_way_of_computing_has_a_curve_of_its_own() -> None:
    class Changing(Model):
        dear = False

        def trial(self, size: int, example: list[Item]) -> None:
            super().trial(size, example)
            self.now += size / 1000 if self.dear else 0

    model = Changing()

    async def story(front: Batcher, measuring: Measuring) -> None:
        await _measured(front, measuring)
        assert front.limits.size == 1000
        model.dear = True
        await _measured(front, measuring)
        assert front.limits.size == 100

    run(model, story)


def test_a_request_waits_for_one_of_its_calls_at_most() -> None:
    model = Model()
    model.held.clear()

    async def story(front: Batcher, measuring: Measuring) -> None:
        done = asyncio.ensure_future(_measured(front, measuring))
        while model.told != ["weighed", 10]:
            await asyncio.sleep(0.001)
        asked = [asyncio.ensure_future(front.run([Item(None, key=key)])) for key in range(3)]
        while front.depth < len(asked):
            await asyncio.sleep(0.001)
        model.held.set()
        await asyncio.gather(done, *asked)

    run(model, story)
    answered = len(model.told) - model.told[::-1].index("request")
    calls = [one == "request" for one in model.told[1:answered]]
    assert calls.count(True) == 3
    assert all(one or other for one, other in pairwise(calls))


def _ended(measuring: Measuring) -> None:
    with pytest.raises(CancelledError):
        measuring.run()


def test_it_ends_with_the_deployment() -> None:
    model = Model()

    async def story(front: Batcher, measuring: Measuring) -> None:
        await asyncio.to_thread(_ended, measuring)
        assert front.limits == TOKENS

    run(model, story, wanted=lambda: model.told.count(100) == 0)
    assert model.told == ["weighed", 10, 10, 100]


def test_it_ends_with_the_front() -> None:
    async def story(front: Batcher, measuring: Measuring) -> None:
        front.close()
        await asyncio.to_thread(_ended, measuring)

    run(Model(), story)


@pytest.mark.parametrize(
    ("limits", "fixed", "told"),
    [
        (TOKENS, {"max_tokens": 512}, "of up to 64 inputs and 512 tokens (set: max_batch_tokens)"),
        (TOKENS, {"max_size": 1}, "of up to 1 input (set: max_batch_size)"),
        (
            BatchLimits(items=8, size=8),
            {"max_size": 4},
            "of up to 4 inputs (set: max_batch_size)",
        ),
        (
            BatchLimits(items=8, size=8),
            {"max_size": 300},
            "of up to 300 inputs (set: max_batch_size)",
        ),
        (BatchLimits(items=1, unit="tokens"), {}, "of up to 1 input"),
        (BatchLimits(items=1, unit="tokens"), {"max_size": 64}, "of up to 1 input"),
    ],
)
def test_what_is_fixed_is_not_measured(
    limits: BatchLimits, fixed: dict[str, Any], told: str
) -> None:
    model = Model(limits)

    async def story(front: Batcher, measuring: Measuring) -> None:
        await _measured(front, measuring)
        assert front.calls == told

    run(model, story, **fixed)
    assert model.told == ["weighed"]


@pytest.mark.parametrize("most", [3, 4096])
def test_fewer_or_more_inputs_than_a_task_has_by_itself_are_those_that_were_set(most: int) -> None:
    async def story(front: Batcher, measuring: Measuring) -> None:
        await _measured(front, measuring)
        assert (front.limits.items, front.limits.size) == (most, 1000)
        assert front.calls.startswith(
            f"of up to {most} inputs and 1,000 tokens (set: max_batch_size; measured: 10: "
        )

    run(Model(), story, max_size=most)


def test_calls_that_are_counted_in_inputs_have_no_more_than_they_may() -> None:
    model = Model(BatchLimits(items=100, size=2000))

    async def story(front: Batcher, measuring: Measuring) -> None:
        await _measured(front, measuring)
        assert front.calls.startswith("of up to 100 inputs (measured: 10: 9,091 inputs/s")

    run(model, story)
    assert 1000 not in model.told


class Parallel(Model):
    """``lanes`` is how much of a lone call's time each of two calls at once takes."""

    def __init__(self, lanes: float, allowed: bool = True) -> None:
        super().__init__()
        self._lanes, self._allowed = lanes, allowed
        self._mine = threading.local()

    def runs_abreast(self, example: list[Item]) -> bool:
        return self._allowed

    def take_threads(self, count: int) -> None:
        self._mine.count = count

    def trial(self, size: int, example: list[Item]) -> None:
        is_wide = getattr(self._mine, "count", 2) == 2
        self.now += (1 + size / 100) / 1000 * (1 if is_wide else self._lanes / 2)


@pytest.mark.parametrize(
    ("lanes", "allowed", "is_used"),
    [(1.5, True, True), (2.15, True, True), (2.3, True, False), (1.5, False, False)],
)
def test_calls_at_once_are_used_where_they_make_about_as_much(
    lanes: float, allowed: bool, is_used: bool
) -> None:
    model = Parallel(lanes, allowed)

    async def story(front: Batcher, measuring: Measuring) -> None:
        await asyncio.wrap_future(front.have_threads(2, model.take_threads))
        await _measured(front, measuring)
        told = (
            "when several wait, 2 at a time with 1 thread each, of up to 64 inputs and 1,000 tokens"
        )
        assert (told in front.calls) == is_used, front.calls

    run(model, story)


def test_a_single_thread_has_no_lanes() -> None:
    model = Parallel(1.0)

    async def story(front: Batcher, measuring: Measuring) -> None:
        await _measured(front, measuring)
        assert "at a time" not in front.calls

    run(model, story)
