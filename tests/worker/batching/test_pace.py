from __future__ import annotations

from modeldeploy.worker.batching.pace import Pace


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_time_without_a_request_does_not_count() -> None:
    clock = Clock()
    pace = Pace(clock)
    assert pace.seconds == 0
    for request in range(3):
        clock.now += 1000
        pace.came(request)
        clock.now += 2
        pace.left(request, served=True)
    assert pace.seconds == 2


def test_requests_that_are_served_side_by_side_share_the_time() -> None:
    clock = Clock()
    pace = Pace(clock)
    for request in range(4):
        pace.came(request)
    clock.now += 8
    assert pace.seconds == 8
    for request in range(4):
        pace.left(request, served=True)
        pace.left(request, served=True)
    assert pace.seconds == 2


def test_what_is_given_up_has_cost_time_all_the_same() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.came("gone")
    pace.came("served")
    clock.now += 3
    pace.left("gone", served=False)
    clock.now += 1
    pace.left("served", served=True)
    assert pace.seconds == 4


def test_it_is_busy_while_there_is_a_request_however_many() -> None:
    clock = Clock()
    pace = Pace(clock)
    clock.now += 5
    pace.came("a")
    clock.now += 1
    pace.came("b")
    assert pace.busy_seconds == 1
    clock.now += 1
    pace.left("a", served=True)
    clock.now += 1
    pace.left("b", served=False)
    clock.now += 5
    assert pace.busy_seconds == 3
    pace.came("c")
    clock.now += 2
    assert pace.busy_seconds == 5
