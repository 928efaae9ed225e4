"""How the cores are shared over the workers that are busy: time is a number here."""

from __future__ import annotations

import pytest

from modeldeploy.schema.threads import Threads
from modeldeploy.supervisor.budget import Budget, share


@pytest.mark.parametrize(
    ("cores", "asked", "busy", "shares"),
    [
        (2, {}, "", {"a": 2, "b": 2}),
        (2, {}, "a", {"a": 2, "b": 1}),
        (2, {}, "ab", {"a": 1, "b": 1, "c": 1}),
        (2, {}, "abcd", {"a": 1, "d": 1}),
        (1, {}, "ab", {"a": 1, "b": 1}),
        (8, {}, "abc", {"a": 3, "b": 3, "c": 2, "d": 2}),
        (8, {"a": 2}, "abc", {"a": 2, "b": 3, "c": 3, "d": 2}),
        (8, {"a": 2}, "bc", {"a": 2, "b": 4, "c": 4}),
        (2, {"a": 2}, "ab", {"a": 2, "b": 1}),
        (2, {"a": 16}, "ab", {"a": 16, "b": 1}),
    ],
)
def test_the_busy_share_the_cores_and_everybody_has_one(
    cores: int, asked: dict[str, int], busy: str, shares: dict[str, int]
) -> None:
    assert {who: share(cores, asked, set(busy), who) for who in shares} == shares


@pytest.mark.parametrize("cores", [1, 2, 3, 8, 31])
def test_no_more_threads_than_cores_are_given_where_each_can_have_one(cores: int) -> None:
    for count in range(1, cores + 1):
        busy = {str(one) for one in range(count)}
        assert sum(share(cores, {}, busy, one) for one in busy) == cores


class Machine:
    """Two cores, and workers that report once a second how busy they were since."""

    def __init__(self, *names: str, asked: dict[str, int] | None = None) -> None:
        self.now = 1000.0
        self.budget = Budget(2, lambda: self.now)
        self._busy = dict.fromkeys(names, 0.0)
        self._asked = asked or {}
        self.second()

    def second(self, **parts: float) -> dict[str, int]:
        """One later, each worker having been busy for that part of it; then every worker's threads."""
        self.now += 1
        for name in self._busy:
            self._busy[name] += parts.get(name, 0.0)
            self.hear(name)
        return {name: self.hear(name).count for name in self._busy}

    def hear(self, name: str) -> Threads:
        return self.budget.heard(name, self._busy[name], self._asked.get(name))

    def gone(self, name: str) -> None:
        del self._busy[name]


def test_two_that_are_busy_share_and_the_one_left_gets_all_back() -> None:
    machine = Machine("a", "b")
    assert machine.second(a=1) == {"a": 2, "b": 1}
    assert machine.second(a=1, b=1) == {"a": 1, "b": 1}
    assert machine.second(a=1) == {"a": 1, "b": 1}
    assert machine.second(a=1) == {"a": 1, "b": 1}
    assert machine.second(a=1) == {"a": 2, "b": 1}


def test_short_pauses_change_nothing() -> None:
    machine = Machine("a", "b")
    machine.second(a=1, b=1)
    for part in (0.0, 0.15, 0.0, 0.0, 1.0) * 3:
        assert machine.second(a=1, b=part) == {"a": 1, "b": 1}


def test_a_request_now_and_then_takes_no_core_from_the_busy() -> None:
    machine = Machine("a", "b")
    for part in (0.15, 0.05, 0.15, 0.0, 0.15) * 3:
        assert machine.second(a=1, b=part) == {"a": 2, "b": 1}


def test_reports_that_come_close_together_are_measured_as_one() -> None:
    machine = Machine("a", "b")
    for _ in range(6):  # a tenth of a second, all of it busy: not yet half a second in all
        machine.now += 0.08
        machine._busy["b"] += 0.08
        assert machine.hear("b").count == 2
        assert machine.hear("a").count == 2
    machine.now += 0.08
    machine._busy["b"] += 0.08
    machine.hear("b")
    assert machine.hear("a").count == 1


def test_who_is_not_heard_of_any_more_is_not_counted() -> None:
    machine = Machine("a", "b")
    assert machine.second(a=1, b=1) == {"a": 1, "b": 1}
    machine.gone("b")
    for _ in range(3):
        machine.second(a=1)
    assert machine.second(a=1) == {"a": 2}


def test_the_cores_of_one_that_has_ended_are_its_successors_at_once() -> None:
    machine = Machine("a", "b")
    assert machine.second(a=1) == {"a": 2, "b": 1}
    machine.budget.gone("a")
    assert machine.hear("b").count == 2


def test_the_number_that_was_asked_for_is_kept_and_left_out_of_the_sharing() -> None:
    machine = Machine("a", "b", "c", asked={"a": 1})
    assert machine.second(a=1, b=1) == {"a": 1, "b": 1, "c": 1}
    machine = Machine("a", "b", asked={"a": 2})
    assert machine.second(b=1) == {"a": 2, "b": 2}


def test_it_says_why() -> None:
    machine = Machine("a", "b", "c", "d", asked={"d": 1})
    assert machine.hear("a").why == "2 of 2 cores: no other deployment is busy"
    machine.second(a=1, b=1)
    assert machine.hear("a").why == "1 of 2 cores: 1 other deployment is busy"
    assert machine.hear("c").why == "1 of 2 cores: 2 other deployments are busy"
    assert machine.hear("d").why == "1 of 2 cores: asked for"
