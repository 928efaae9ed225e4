from __future__ import annotations

import asyncio
import time

import pytest

from modeldeploy.supervisor.clock import Clock
from modeldeploy.supervisor.plan import Action
from tests.supervisor.test_plan import History


class Hands:
    """Both clocks of a machine."""

    def __init__(self) -> None:
        self.wall, self.monotonic = 1000.0, 5.0

    def clock(self) -> Clock:
        return Clock(lambda: self.wall, lambda: self.monotonic)

    def live(self, clock: Clock, seconds: float) -> None:
        """With a supervisor that looks as often as it should."""
        for _ in range(round(seconds * 4)):
            self.monotonic += 0.25
            clock.look()


@pytest.mark.parametrize("hours", [6, -6])
@pytest.mark.promise(4, fault="the clock is set six hours on, or back (the clock alone)")
def test_whoever_sets_the_clock_moves_nothing(hours: int) -> None:
    hands = Hands()
    clock = hands.clock()
    hands.live(clock, 10)
    hands.wall += hours * 3600
    hands.live(clock, 10)
    assert clock() == pytest.approx(1020)


@pytest.mark.promise(
    4, fault="the supervisor is stopped for longer than its patience (the clock alone)"
)
def test_what_it_slept_through_does_not_count() -> None:
    hands = Hands()
    clock = hands.clock()
    hands.live(clock, 10)
    hands.monotonic += 3600
    assert clock() <= 1010.5, "before it looks"
    clock.look()
    assert clock() <= 1010.5
    hands.live(clock, 10)
    assert clock() == pytest.approx(1020, abs=0.5)


@pytest.mark.promise(4, fault="supervisor and worker are stopped together (the planner alone)")
def test_a_worker_is_not_out_of_time_after_a_pause_and_is_when_it_stays_silent() -> None:
    hands, history = Hands(), History().running()
    clock = hands.clock()
    history.now = clock()
    history.see(last_heard=clock()).settle()
    hands.live(clock, 1)
    hands.monotonic += 3600
    history.now = clock()
    assert history.settle() == []
    clock.look()
    hands.live(clock, 12)
    history.now = clock()
    assert history.settle() == []
    hands.live(clock, 2)
    history.now = clock()
    assert history.settle() == [Action.KILL]


def test_it_goes_on_while_it_is_kept() -> None:
    async def story() -> None:
        clock = Clock()
        began, real = clock(), time.monotonic()
        ticking = asyncio.ensure_future(clock.keep())
        await asyncio.sleep(1.2)
        assert clock() - began == pytest.approx(time.monotonic() - real, abs=0.4)
        ticking.cancel()

    asyncio.run(story())
