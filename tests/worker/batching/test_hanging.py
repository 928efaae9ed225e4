from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from modeldeploy.worker.batching import hanging
from modeldeploy.worker.batching.batcher import Batcher
from modeldeploy.worker.batching.hanging import Hanging
from tests.worker.batching.stories import Model, busy, run, until


def looks(*, computing: float, count: int = 100) -> list[bool]:
    """At one call, every second; each second takes so much of a CPU."""
    now = 0.0

    def cpu() -> float:
        return now * computing

    watched = Hanging(10.0, clock=lambda: now, computing=cpu)
    found = []
    for second in range(count):
        now = float(second)
        found.append(watched.look(0.0))
    return found


def test_a_call_in_which_nobody_computes_hangs_when_it_is_old() -> None:
    found = looks(computing=0.01, count=20)
    assert found == [False] * 11 + [True] * 9


def test_a_call_that_only_takes_long_does_not() -> None:
    assert not any(looks(computing=0.9, count=1000))


def test_calls_that_end_are_looked_at_one_by_one() -> None:
    watched = Hanging(10.0, clock=lambda: 1000.0, computing=float)
    assert not any(watched.look(float(call)) for call in range(50))
    assert not watched.look(None)


def burn(seconds: float) -> None:
    """So much CPU time, in this thread."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_the_loops_own_work_is_none_of_the_model_in_a_thread_that_was_not_the_first() -> None:
    def in_loop() -> float:
        before = hanging.computing_seconds()
        burn(0.2)
        return hanging.computing_seconds() - before

    with ThreadPoolExecutor(1) as loop:  # as after a fork
        assert loop.submit(in_loop).result() < 0.1


def test_what_a_thread_has_computed_stays_counted_when_it_has_ended() -> None:
    before = hanging.computing_seconds()
    with ThreadPoolExecutor(1) as lane:
        lane.submit(burn, 0.1).result()
    assert hanging.computing_seconds() - before >= 0.1


def test_a_batcher_tells_its_oldest_call() -> None:
    async def story(model: Model, batcher: Batcher) -> None:
        idle = batcher.oldest_call
        assert idle is None
        first = await busy(model, batcher)
        assert batcher.oldest_call is not None
        ended = asyncio.Event()
        on_hang: Callable[[], None] = ended.set
        watching = asyncio.ensure_future(hanging.watch(batcher, 0.1, on_hang))
        await ended.wait()  # the gate is closed, and nobody computes
        model.gate.set()
        await asyncio.gather(first, watching)
        await until(lambda: batcher.oldest_call is None)

    run(story)
