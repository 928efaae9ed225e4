"""How much goes into one call of the model: what measures best, of this model on this device.

A larger call is cheaper for each of its tokens, up to a size that differs from model to model, and
holds up whoever comes meanwhile for longer. So calls of growing sizes are timed, and the smallest that
is nearly as cheap as the cheapest is chosen; then the same with several calls at once, each with a part of
the threads. It is done beside the requests, in calls that go between theirs: each of them waits for one
at most, and while there are any they have three times as much time as it takes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

from msgspec import Struct

from modeldeploy.worker.adapter import Adapter, Item
from modeldeploy.worker.batching.batcher import Batcher, Lanes

T = TypeVar("T")

_ROUNDS = 2  # of which the faster counts: whatever disturbs makes it slower
_LONG = 0.25  # seconds that a call may hold up others for what it saves
_GAIN = 1.04  # times the best rate: where sizes bring less it grows no further
_YIELDED = (
    3  # times what a call took: so long requests, if there are any, have the model to themselves
)
_IN_VAIN = 2  # one alone may have been disturbed
_NEAR = 0.97  # of the best rate
# Times the best rate: so much calls at once must make. One begins while another ends, and a call of several
# threads waits with all of them when a request takes a core from one (docs/performance.md, "Calls at once").
_WORTH = 0.9


class Point(NamedTuple):
    """A call of ``size`` took so many seconds."""

    size: int
    seconds: float

    @property
    def rate(self) -> float:
        """Of what sizes are counted in, a second."""
        return self.size / self.seconds


class Found(Struct, frozen=True, kw_only=True):
    """What was measured best: calls of ``size``, or in lanes of so many threads each and so much in
    one (``lanes``); ``weighed`` is the adapter's own, ``told`` says it in words. ``calm``: nobody asked
    meanwhile, which disturbs."""

    size: int
    lanes: tuple[int, int] | None = None
    weighed: float | None = None
    told: str = ""
    calm: bool = True


class Abreast(NamedTuple):
    """``calls`` at once with so many ``threads`` each."""

    calls: int
    threads: int
    points: list[Point]

    @property
    def rate(self) -> float:
        """The best, of all calls together."""
        return max(point.rate for point in self.points)


def grown(sizes: Iterable[int], seconds: Callable[[int], float]) -> list[Point]:
    """The points of those ``sizes`` that are worth trying, one after the other."""
    found: list[Point] = []
    most, in_vain = 0.0, 0
    for size in sizes:
        point = Point(size, seconds(size))
        found.append(point)
        in_vain = in_vain + 1 if point.rate < _GAIN * most else 0
        if point.seconds > _LONG or in_vain == _IN_VAIN:
            break
        most = max(most, point.rate)
    return found


def best(points: Sequence[Point]) -> int:
    """The smallest size that is nearly as cheap as the cheapest."""
    enough = _NEAR * max(point.rate for point in points)
    return min(point.size for point in points if point.rate >= enough)


def words(points: Sequence[Point], unit: str) -> str:
    """What was measured, for ``/info``."""
    rates = [f"{one.size:,}: {_number(one.rate)}" for one in points]
    if unit:
        rates[0] += f" {unit}/s"
    return ", ".join(rates)


def _number(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.2g}"


def use(adapter: Adapter[Any, Any], front: Batcher, found: Found) -> None:
    """Have calls be what was measured best, now or before."""
    if found.weighed is not None:
        adapter.weighed = found.weighed
    limits, lanes = front.limits, None
    if found.lanes:
        threads, size = found.lanes
        lanes = Lanes(threads, replace(limits, size=size))
    front.use(replace(limits, size=found.size), found.told, lanes)


class Measuring:
    """Of an adapter whose requests wait in ``front``; ``example`` are an example's items. It goes on
    while it is ``wanted``."""

    def __init__(
        self,
        adapter: Adapter[Any, Any],
        front: Batcher,
        example: list[Item],
        wanted: Callable[[], bool],
        clock: Callable[[], float] = time.perf_counter,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self._adapter, self._front, self._example = adapter, front, example
        self._wanted, self._clock = wanted, clock
        self._wait = wait or front.closing.wait

    def run(self) -> Found | None:
        """Find what is best and have the front use it. Not in the inference thread.

        Raises:
            CancelledError: it is not wanted any more. And whatever a call of the model raises.
        """
        self._adapter.weigh(self._seconds)
        points = grown(self._sizes(), self._of_size)
        if not points:
            return None
        lanes, told = None, f"measured: {words(points, self._front.limits.unit or 'inputs')}"
        if abreast := self._abreast(max(point.rate for point in points)):
            lanes = abreast.threads, best(abreast.points)
            told += f"; {abreast.calls} at a time: {words(abreast.points, '')}"
        weighed = self._adapter.weighed
        found = Found(size=best(points), lanes=lanes, weighed=weighed, told=told)
        use(self._adapter, self._front, found)
        return found

    def _abreast(self, rate: float) -> Abreast | None:
        """How calls at once make most, where that is about as much as ``rate``, or more: what is done
        between two calls, which is not measured, is done while others compute."""
        found: list[Abreast] = []
        total, threads = self._front.threads, 1
        if total > 1 and not self._between(partial(self._adapter.runs_abreast, self._example)):
            return None
        while threads <= total // 2:
            found.append(
                Abreast(total // threads, threads, self._points(total // threads, threads))
            )
            threads *= 2
        best_one = max(found, key=lambda one: one.rate, default=None)
        return best_one if best_one and best_one.rate > _WORTH * rate else None

    def _points(self, count: int, threads: int) -> list[Point]:
        """Of so many calls at once: ``seconds`` are a call's share."""

        def call(size: int) -> None:
            self._adapter.take_threads(threads)
            self._adapter.trial(size, self._example)

        def together(size: int) -> None:
            try:
                for done in [lanes.submit(call, size) for _ in range(count)]:
                    done.result()
            finally:
                self._adapter.take_threads(self._front.threads)

        sizes = self._sizes()
        with ThreadPoolExecutor(count) as lanes:
            self._seconds(partial(together, sizes[0]))  # what is made once is made
            points = grown(sizes, lambda size: self._seconds(partial(together, size)))
        return [Point(point.size, point.seconds / count) for point in points]

    def _sizes(self) -> list[int]:
        """None where there is nothing to choose: the limit is fixed, or a call takes one alone."""
        limits, batching = self._front.limits, self._front.batching
        if limits.items == 1 or (batching.max_tokens if limits.unit else batching.max_size):
            return []
        most = math.inf if limits.unit else limits.items
        return [size for size in self._adapter.trials if size <= most]

    def _of_size(self, size: int) -> float:
        return self._seconds(partial(self._adapter.trial, size, self._example))

    def _seconds(self, call: Callable[[], None]) -> float:
        """Those of the call, made between two of others."""
        taken = math.inf
        for _ in range(_ROUNDS):
            busy = self._front.busy_seconds
            seconds = self._between(partial(self._timed, call))
            if self._front.busy_seconds != busy:
                self._wait(_YIELDED * seconds)
            taken = min(taken, seconds)
            if taken > _LONG:
                break
        return taken

    def _between(self, job: Callable[[], T]) -> T:
        """Have it done between two calls."""
        if not self._wanted():
            raise CancelledError
        return self._front.between(job).result()

    def _timed(self, call: Callable[[], None]) -> float:
        begun = self._clock()
        call()
        return self._clock() - begun
