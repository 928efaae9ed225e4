from __future__ import annotations

import asyncio
import threading
import time
from functools import partial
from typing import Any

import pytest

from modeldeploy.errors import PredictionFailed, QueueFull
from modeldeploy.schema.problem import Crowd
from modeldeploy.worker.adapter import BatchLimits, Item
from modeldeploy.worker.batching.batcher import Batcher
from tests.worker.batching.stories import Model, asked_of, busy, items, run


def test_answers_come_back_in_order_whatever_the_sizes() -> None:
    async def story(model: Model, batcher: Batcher) -> None:
        asked = [Item(n, size) for n, size in enumerate((9, 1, 5, 3))]
        ticket = await batcher.run(asked)
        assert ticket.raws == [0, 1, 2, 3]
        assert ticket.inference_seconds >= 0
        assert ticket.queue_seconds >= 0

    assert run(story).batches == [[1, 3, 2, 0]]


def batches_of(*requests: list[Item], **limits: Any) -> list[list[Any]]:
    """The calls that are made of requests that came, one after the other, while the model was
    busy with ``first``."""

    async def story(model: Model, batcher: Batcher) -> None:
        first = await busy(model, batcher)
        others = [asyncio.ensure_future(batcher.run(one)) for one in requests]
        await asyncio.sleep(0.01)
        model.gate.set()
        await asyncio.gather(first, *others)

    first, *batches = run(story, BatchLimits(**limits)).batches
    assert first == ["first"]
    return batches


def test_it_never_waits_for_company_and_takes_all_there_is() -> None:
    assert batches_of(*(items(n) for n in range(5))) == [[0, 1, 2, 3, 4]]


def test_items_of_another_key_wait_for_their_own_batch() -> None:
    found = batches_of(*(items(n, key=n % 2 or None) for n in range(4)))
    assert found == [[0, 2], [1, 3]]


SIZES = (10, 100, 11, 90, 12, 300)


def test_a_batch_keeps_its_padded_size_and_those_of_like_size_together() -> None:
    found = batches_of(*(items(n, size=n) for n in SIZES), items=8, size=200)
    assert found == [[10, 11, 12], [100, 90], [300]]


def test_without_padding_sizes_add_up_past_those_that_are_too_large_for_what_is_left() -> None:
    found = batches_of(*(items(n, size=n) for n in SIZES), items=8, size=200, padded=False)
    assert found == [[10, 100, 11, 12], [90], [300]]


def test_where_lengths_must_be_equal_they_are() -> None:
    found = batches_of(*(items(n, size=n % 2 + 1) for n in range(5)), equal=True)
    assert found == [[0, 2, 4], [1, 3]]


@pytest.mark.parametrize("padded", [True, False])
def test_a_long_list_shares_each_call_with_those_that_wait_beside_it(padded: bool) -> None:
    many, one = items(*range(6), size=10), items("one", size=10)
    found = batches_of(many, one, items=3, size=30, padded=padded)
    assert found == [[0, "one", 1], [2, 3, 4], [5]]


def test_a_long_list_does_not_hold_up_a_short_question() -> None:
    order: list[str] = []

    async def story(model: Model, batcher: Batcher) -> None:
        first = await busy(model, batcher)

        async def ask(name: str, count: int) -> None:
            await batcher.run(items(*range(count)))
            order.append(name)

        asked = [asyncio.ensure_future(ask("list", 100)), asyncio.ensure_future(ask("short", 1))]
        await asyncio.sleep(0.01)
        model.gate.set()
        await asyncio.gather(first, *asked)

    run(story, BatchLimits(items=2, size=100))
    assert order == ["short", "list"]


@pytest.mark.parametrize("poison", [RuntimeError("bad"), MemoryError(), KeyboardInterrupt()])
@pytest.mark.promise(17, fault="one item of a batch makes the model raise or panic")
def test_a_poisonous_item_fails_alone(poison: BaseException) -> None:
    async def story(model: Model, batcher: Batcher) -> None:
        first = await busy(model, batcher)
        good = [asyncio.ensure_future(batcher.run(items(n))) for n in range(7)]
        bad = asyncio.ensure_future(batcher.run(items(poison)))
        await asyncio.sleep(0.01)
        model.gate.set()
        assert [(await one).raws for one in good] == [[n] for n in range(7)]
        with pytest.raises(PredictionFailed, match=type(poison).__name__):
            await bad
        await first
        assert (await batcher.run(items("next"))).raws == ["next"]

    run(story)


def test_a_full_queue_is_refused_at_once_and_recovers() -> None:
    async def story(model: Model, batcher: Batcher) -> None:
        first = await busy(model, batcher)
        waiting = [asyncio.ensure_future(batcher.run(items(n))) for n in range(2)]
        await asyncio.sleep(0.01)
        started = time.monotonic()
        with pytest.raises(QueueFull, match="2 requests are waiting") as refused:
            await batcher.run(items("too many"))
        assert time.monotonic() - started < 0.1
        assert refused.value.retry_after is not None
        assert refused.value.retry_after >= 1
        model.gate.set()
        await asyncio.gather(first, *waiting)
        assert (await batcher.run(items("now"))).raws == ["now"]

    run(story, max_queue=2)


def test_who_is_refused_is_told_where_it_stood_and_when_to_come() -> None:
    async def story(model: Model, batcher: Batcher) -> None:
        batcher._pace._gaps.extend([0.25] * 64)  # a request of late
        first = await busy(model, batcher)
        waiting = await asked_of(batcher, *(items(n) for n in range(10)))
        with pytest.raises(QueueFull, match="this one would have been number 11") as refused:
            await batcher.run(items("too many"))
        assert refused.value.crowd == Crowd(depth=10, position=11, limit=10)
        assert refused.value.retry_after == 3
        assert [batcher.retry_after(depth) for depth in (0, 1, 4, 400, 4000)] == [1, 1, 1, 100, 120]
        model.gate.set()
        await asyncio.gather(first, *waiting)

    run(story, max_queue=10)


def test_a_refused_request_is_told_the_rate_while_there_was_work() -> None:
    async def story(model: Model, batcher: Batcher) -> None:
        for n in range(3):
            await batcher.run(items(n))
            await asyncio.sleep(0.2)
        model.batches.clear()
        first = await busy(model, batcher)
        waiting = [asyncio.ensure_future(batcher.run(items(n))) for n in range(50)]
        await asyncio.sleep(0.01)
        with pytest.raises(QueueFull) as refused:
            await batcher.run(items("too many"))
        assert refused.value.retry_after == 1
        model.gate.set()
        await asyncio.gather(first, *waiting)

    run(story, max_queue=50)


def test_a_slow_models_queue_is_told_by_its_length_within_a_bound() -> None:
    async def story(model: Model, batcher: Batcher) -> None:
        first = await busy(model, batcher)
        await asyncio.sleep(0.5)
        assert batcher.retry_after(10) in (5, 6, 7)
        batcher.longest_retry = 60
        assert batcher.retry_after(1000) == 60
        model.gate.set()
        await first
        assert batcher.retry_after(10) in (5, 6, 7)

    run(story)


def test_who_leaves_frees_the_place_and_is_never_run() -> None:
    async def story(model: Model, batcher: Batcher) -> None:
        first = await busy(model, batcher)
        asked = items("gone")
        leaver = asyncio.ensure_future(batcher.run(asked))
        await asyncio.sleep(0.01)
        assert batcher.depth == 1
        leaver.cancel()
        await asyncio.sleep(0.01)
        assert batcher.depth == 0
        assert asked[0].dropped
        model.gate.set()
        await first

    assert run(story).batches == [["first"]]


def test_who_leaves_while_being_run_is_told_to_the_model() -> None:
    async def story(model: Model, batcher: Batcher) -> None:
        model.gate.clear()
        asked = items("running")
        leaver = asyncio.ensure_future(batcher.run(asked))
        while not model.batches:
            await asyncio.sleep(0.001)
        leaver.cancel()
        await asyncio.sleep(0.01)
        assert asked[0].dropped
        model.gate.set()
        assert (await batcher.run(items("next"))).raws == ["next"]

    run(story)


def test_thousands_of_items_cost_little_beside_the_model() -> None:
    async def story(model: Model, batcher: Batcher) -> None:
        started = time.monotonic()
        asked = [batcher.run(items(*range(500), size=n % 7 + 1)) for n in range(20)]
        tickets = await asyncio.gather(*asked)
        assert all(ticket.raws == list(range(500)) for ticket in tickets)
        assert time.monotonic() - started < 5

    run(story)


def test_a_job_is_done_between_two_calls_in_the_inference_thread() -> None:
    async def story(model: Model, batcher: Batcher) -> None:
        first = await busy(model, batcher)
        second = asyncio.ensure_future(batcher.run(items("second")))
        await asyncio.sleep(0)
        seen = batcher.between(lambda: (threading.current_thread().name, len(model.batches)))
        assert not seen.done()
        model.gate.set()
        assert await asyncio.wrap_future(seen) == ("inference", 1)
        await asyncio.gather(first, second)
        idle = batcher.between(lambda: len(model.batches))
        assert await asyncio.wrap_future(idle) == 2

    run(story)


def test_a_job_that_fails_is_its_givers_affair() -> None:
    async def story(model: Model, batcher: Batcher) -> None:
        with pytest.raises(ZeroDivisionError):
            await asyncio.wrap_future(batcher.between(lambda: 1 // 0))
        assert (await batcher.run(items("after"))).raws == ["after"]

    run(story)


def test_a_list_of_a_thousand_shares_the_next_call_with_a_single_one() -> None:
    async def story(model: Model, batcher: Batcher) -> None:
        first = await busy(model, batcher)
        many, one = await asked_of(batcher, items(*range(1000), size=20), items("one", size=20))
        model.gate.set()
        await asyncio.gather(first, many, one)

    batches = run(story, BatchLimits(items=64, size=256, padded=False)).batches
    assert "one" in batches[1]
    assert len(batches) == 1 + -(-1001 // 12)


def test_what_a_deployment_fixes_holds_whatever_the_limits() -> None:
    async def story(model: Model, batcher: Batcher) -> None:
        first = await busy(model, batcher)
        asked = await asked_of(batcher, items(*range(6), size=10))
        batcher.use(BatchLimits(items=64, size=1000))
        model.gate.set()
        await asyncio.gather(first, *asked)

    assert run(story, max_size=4).batches[1:] == [[0, 1, 2, 3], [4, 5]]
    assert run(story, max_tokens=20).batches[1:] == [[0, 1], [2, 3], [4, 5]]
    assert run(story, max_size=64, max_tokens=20).batches[1:] == [[0, 1], [2, 3], [4, 5]]
    assert run(story).batches[1:] == [[0, 1, 2, 3, 4, 5]]


def test_limits_change_between_two_calls() -> None:
    async def story(model: Model, batcher: Batcher) -> None:
        first = await busy(model, batcher)
        asked = await asked_of(batcher, items(*range(4), size=10))
        batcher.use(BatchLimits(size=20), "measured")
        assert batcher.calls == "of up to 20 inputs (measured)"
        model.gate.set()
        await asyncio.gather(first, *asked)

    assert run(story).batches[1:] == [[0, 1], [2, 3]]


def test_jobs_that_follow_each_other_let_a_request_between_them() -> None:
    async def story(model: Model, batcher: Batcher) -> None:
        told: list[Any] = []

        def job(left: int) -> None:
            told.append(len(model.batches))
            if left:
                batcher.between(lambda: job(left - 1))

        first = await busy(model, batcher)
        asked = await asked_of(batcher, *(items(n, key=n) for n in range(3)))
        batcher.between(lambda: job(2))
        model.gate.set()
        await asyncio.gather(first, *asked)
        assert told == [1, 2, 3]

    run(story)


def test_a_job_for_a_front_that_is_closed_is_cancelled() -> None:
    async def story(model: Model, batcher: Batcher) -> None:
        batcher.close()
        assert batcher.between(lambda: None).cancelled()

    run(story)


@pytest.mark.parametrize("breaks", [False, True])
def test_who_is_settled_in_the_middle_of_a_call_is_answered_then_and_once(breaks: bool) -> None:
    begin, gate = threading.Event(), threading.Event()
    calls: list[list[str]] = []

    def core(asked: list[Item]) -> list[Any]:
        calls.append([one.data for one in asked])
        for one in asked:
            if one.data == "short" and not one.dropped:
                assert one.settle
                one.settle("early")
                gate.wait(10)
                if breaks:
                    raise RuntimeError
        return [f"late {one.data}" for one in asked]

    async def story() -> None:
        batcher = Batcher(core, BatchLimits(), 100)
        batcher.between(partial(begin.wait, 10))
        short, long = await asked_of(batcher, items("short"), items("long", "long"))
        begin.set()
        assert (await asyncio.wait_for(short, 5)).raws == ["early"]
        assert not long.done()
        gate.set()
        assert (await long).raws == ["late long", "late long"]
        assert calls[0] == ["short", "long", "long"]
        assert (await batcher.run(items("next"))).raws == ["late next"]
        assert short.result().raws == ["early"]
        batcher.close()

    asyncio.run(asyncio.wait_for(story(), 20))
