"""Calls at the same time: when, of what, with how many threads, and what has the model to itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any

import pytest

from modeldeploy.errors import PredictionFailed
from modeldeploy.schema.computing import Batching
from modeldeploy.worker.adapter import BatchLimits, Item
from modeldeploy.worker.batching.batcher import Batcher, Lanes
from tests.worker.batching.stories import asked_of, items, until


class Model:
    """Tells which calls it is in, and with how many threads each was made; a call ends when ``let_go``
    has been told so."""

    def __init__(self) -> None:
        self.now: list[list[Any]] = []
        self.made: list[tuple[list[Any], int]] = []
        self.most = 0
        self._lock = threading.Lock()
        self._threads = threading.local()
        self.let_go = threading.Semaphore(0)

    def take_threads(self, count: int) -> None:
        self._threads.count = count

    def core(self, asked: list[Item]) -> list[Any]:
        data = [item.data for item in asked]
        with self._lock:
            self.made.append((data, getattr(self._threads, "count", 0)))
            self.now.append(data)
            self.most = max(self.most, len(self.now))
        assert self.let_go.acquire(timeout=10)
        with self._lock:
            self.now.remove(data)
        if "poison" in data:
            raise ValueError("poison")
        return data


def run(
    story: Callable[[Model, Batcher], Awaitable[None]],
    threads: int = 2,
    lanes: Lanes | None = Lanes(1, BatchLimits(items=4)),  # noqa: B008  # frozen
    **fixed: Any,
) -> Model:
    model = Model()

    async def tell() -> None:
        batcher = Batcher(
            model.core,
            BatchLimits(items=8),
            100,
            batching=Batching(**fixed),
            take_threads=model.take_threads,
        )
        try:
            await asyncio.wrap_future(batcher.have_threads(threads, model.take_threads))
            batcher.use(BatchLimits(items=8), "", lanes)
            await asyncio.wait_for(story(model, batcher), 20)
        finally:
            model.let_go.release(1000)
            batcher.close()

    asyncio.run(tell())
    return model


async def crowd(model: Model, batcher: Batcher, *data: Any) -> asyncio.Future[Any]:
    """One request of these items that waits until a lone item's call has ended."""
    (first,) = await asked_of(batcher, items("first"))
    await until(lambda: model.now == [["first"]])
    (request,) = await asked_of(batcher, items(*data))
    model.let_go.release()
    await first
    return request


def test_a_lone_item_has_all_threads() -> None:
    async def story(model: Model, batcher: Batcher) -> None:
        model.let_go.release(2)
        await batcher.run(items("a"))
        await batcher.run(items("b"))

    model = run(story)
    assert model.made == [(["a"], 2), (["b"], 2)]


def test_where_several_wait_each_lane_takes_its_share_of_one_request_too() -> None:
    async def story(model: Model, batcher: Batcher) -> None:
        request = await crowd(model, batcher, *range(6))
        await until(lambda: len(model.now) == 2)
        model.let_go.release(2)
        assert (await request).raws == list(range(6))

    model = run(story)
    assert sorted(model.made[1:]) == [([0, 1, 2], 1), ([3, 4, 5], 1)]


def test_a_lane_takes_no_more_than_its_limits() -> None:
    async def story(model: Model, batcher: Batcher) -> None:
        request = await crowd(model, batcher, *range(10))
        model.let_go.release(4)
        assert (await request).raws == list(range(10))

    in_lanes = [len(data) for data, threads in run(story).made if threads == 1]
    assert max(in_lanes) == 4


def test_two_clients_share_the_lanes_although_each_time_one_waits() -> None:
    async def story(model: Model, batcher: Batcher) -> None:
        second = await crowd(model, batcher, "b")
        await until(lambda: model.now == [["b"]])
        (again,) = await asked_of(batcher, items("a"))
        await until(lambda: sorted(model.now) == [["a"], ["b"]])
        model.let_go.release(2)
        await asyncio.gather(second, again)

    assert {threads for _, threads in run(story).made[1:]} == {1}


@pytest.mark.parametrize(
    ("threads", "lanes", "fixed"),
    [
        (1, Lanes(1, BatchLimits()), {}),
        (3, Lanes(2, BatchLimits()), {}),
        (2, None, {}),
        (2, Lanes(1, BatchLimits()), {"window": 0.01}),
    ],
    ids=["too few threads", "for one lane only", "no gain", "waits for company"],
)
def test_calls_are_one_at_a_time_where_lanes_are_not_for(
    threads: int, lanes: Lanes | None, fixed: dict[str, Any]
) -> None:
    async def story(model: Model, batcher: Batcher) -> None:
        request = await crowd(model, batcher, *range(20))
        model.let_go.release(100)
        await request

    assert run(story, threads, lanes, **fixed).most == 1


def test_more_threads_make_more_lanes_and_fewer_make_fewer() -> None:
    async def story(model: Model, batcher: Batcher) -> None:
        for count in (4, 3):
            await asyncio.wrap_future(batcher.have_threads(count, model.take_threads))
            request = await crowd(model, batcher, *range(20))
            await until(lambda count=count: len(model.now) == count)  # type: ignore[misc]
            await asyncio.sleep(0.02)
            assert len(model.now) == count
            model.let_go.release(20 - len(model.made))
            await until(request.done)
            while model.let_go.acquire(blocking=False):
                pass

    run(story)


def test_a_job_has_the_model_to_itself_and_lets_a_call_go_before_the_next() -> None:
    seen: list[tuple[str, int]] = []

    async def story(model: Model, batcher: Batcher) -> None:
        def job(name: str) -> Future[None]:
            return batcher.between(lambda: seen.append((name, len(model.now))))

        request = await crowd(model, batcher, *range(12))
        await until(lambda: len(model.now) == 2)
        first = job("first")
        model.let_go.release()
        await until(lambda: len(model.now) == 1)
        await asyncio.sleep(0.02)
        assert len(model.now) == 1, "no other call is begun while a job waits"
        first.add_done_callback(lambda _: job("second"))
        model.let_go.release()
        await asyncio.wrap_future(first)
        await until(lambda: len(model.now) > 0)
        assert seen == [("first", 0)]
        model.let_go.release(100)
        await request
        await until(lambda: len(seen) == 2)

    run(story)
    assert seen == [("first", 0), ("second", 0)]


def test_a_poisonous_item_fails_its_own_request_only() -> None:
    async def story(model: Model, batcher: Batcher) -> None:
        good = await crowd(model, batcher, 1, 2, 3)
        (bad,) = await asked_of(batcher, items("poison", 4))
        model.let_go.release(100)
        assert (await good).raws == [1, 2, 3]
        with pytest.raises(PredictionFailed):
            await bad

    run(story)


def test_what_waits_at_the_end_is_answered() -> None:
    async def story(model: Model, batcher: Batcher) -> None:
        request = await crowd(model, batcher, *range(12))
        batcher.close()
        model.let_go.release(100)
        assert (await request).raws == list(range(12))
        await until(lambda: not any(one.is_alive() for one in batcher._lane_threads))

    run(story)


def test_nobody_spins_while_lanes_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = 0
    turn = Batcher._turn

    def counted(self: Batcher) -> Any:
        nonlocal turns
        turns += 1
        return turn(self)

    async def story(model: Model, batcher: Batcher) -> None:
        request = await crowd(model, batcher, *range(12))
        await until(lambda: len(model.now) == 2)
        monkeypatch.setattr(Batcher, "_turn", counted)
        await asyncio.sleep(0.1)
        assert turns <= 1
        model.let_go.release(100)
        await request

    run(story)


def test_lanes_are_told_of() -> None:
    async def story(model: Model, batcher: Batcher) -> None:
        batcher.use(BatchLimits(items=8), "measured", Lanes(1, BatchLimits(items=4)))
        assert batcher.calls == (
            "of up to 8 inputs; when several wait, 2 at a time with 1 thread each, of up to 4 inputs "
            "(measured)"
        )

    run(story)
