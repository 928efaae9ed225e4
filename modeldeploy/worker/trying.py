"""Whether a graph is like what runs now, and faster: seen on the batches that came, a step's on texts of
its own."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec.structs import replace

from modeldeploy.schema.graph import GraphNote
from modeldeploy.worker.adapter import Item
from modeldeploy.worker.batching.batcher import Batcher
from modeldeploy.worker.batching.front import Front

if TYPE_CHECKING:
    from modeldeploy.worker.compute.graphs import AnyGraph
    from modeldeploy.worker.compute.likeness import Outcome
    from modeldeploy.worker.generation.engine import Engine
    from modeldeploy.worker.generation.slab import Running
    from modeldeploy.worker.tasks.model import ModelAdapter

    Side = tuple[AnyGraph | None, Callable[[list[Item]], Any]]

T = TypeVar("T")

_BATCHES = 6  # that a graph is tried on
_ROUNDS = 3  # of which the fastest counts, or of more where the two are nearly even
_NEARLY, _MOST_ROUNDS = 1.15, 6
_YIELDED = (
    3  # times what was tried took: so long requests, if there are any, have the model to themselves
)
_STEP_ROWS = (1, 4, 8)  # texts that are written together
_STEP_LENGTHS = (16, 400)  # tokens before


class Traffic:
    """Hears of the calls of a model: ``enough`` is set when they took so many seconds together."""

    def __init__(self, seconds: float) -> None:
        self.enough = threading.Event()
        self._left = seconds
        self._latest: deque[list[Item]] = deque(maxlen=_BATCHES)

    def __call__(self, items: list[Item], seconds: float) -> None:
        self._left -= seconds
        self._latest.append(items)
        if self._left <= 0:
            self.enough.set()

    def latest(self) -> list[list[Item]]:
        """The latest batches, with items of their own: a request that is given up drops its own."""
        return [
            [Item(item.data, item.size, item.key) for item in batch]
            for batch in self._latest.copy()
        ]


class Trial:
    """Of a graph beside what the model runs on otherwise (``now``, or torch), which has so many times
    torch's ``speed``: a call at a time between those of requests and, where several that wait are served
    in lanes, as many at once. The lower figure counts."""

    def __init__(
        self,
        adapter: ModelAdapter[Any, Any],
        front: Front,
        now: AnyGraph | None = None,
        speed: float = 1.0,
    ) -> None:
        self._adapter, self._front, self._now, self._speed = adapter, front, now, speed

    def note(self, graph: AnyGraph, batches: Sequence[list[Item]]) -> GraphNote:
        """The graph's note, with what was found of it on these batches."""
        from modeldeploy.worker.compute import likeness

        precision, note = graph.stored.form.precision, graph.stored.note
        ones = [self._outcome(self._now, batch) for batch in batches]
        others = [self._outcome(graph, batch) for batch in batches]
        apart = max(note.difference, likeness.difference(precision, ones, others))
        most = likeness.allowed(precision)
        if not apart <= most:
            return _refused(graph, apart, most)
        sides = [(one, self._adapter.core) for one in (self._now, graph)]
        gain = min(self._gain(sides, batches), self._gain_in_lanes(graph, batches))
        return replace(note, speed=self._speed * gain, difference=apart)

    def _outcome(self, graph: AnyGraph | None, batch: list[Item]) -> Outcome:
        from modeldeploy.worker.compute.settling import outcome

        adapter = self._adapter
        return self._on(graph, lambda: outcome(adapter.model, lambda: adapter.core(batch)))

    def _gain(self, sides: Sequence[Side], batches: Sequence[list[Item]]) -> float:
        """How many times faster the second side is than the first."""

        def turn(batch: list[Item]) -> list[float]:
            return [self._on(one, partial(_seconds, partial(call, batch))) for one, call in sides]

        return _ratio(turn, batches)

    def _gain_in_lanes(self, graph: AnyGraph, batches: Sequence[list[Item]]) -> float:
        """The same where calls are made at once; boundless where none are."""
        lanes = self._front.lanes if isinstance(self._front, Batcher) else None
        if lanes is None:
            return math.inf
        with ThreadPoolExecutor(lanes[0]) as pool:
            at_once, in_turn = (
                partial(self._at_once, pool, *lanes),
                partial(self._in_turn, lanes[0]),
            )
            sides = []
            for one in (self._now, graph):
                may = self._on(one, partial(self._adapter.runs_abreast, batches[0]))
                sides.append((one, at_once if may else in_turn))
            return self._gain(sides, batches)

    def _at_once(
        self, pool: ThreadPoolExecutor, count: int, threads: int, batch: list[Item]
    ) -> None:
        def call() -> None:
            self._adapter.take_threads(threads)
            self._adapter.core(batch)

        try:
            calls = [pool.submit(call) for _ in range(count)]
            wait(calls)
            for one in calls:
                one.result()
        finally:  # some of a thread's settings are the process's
            self._adapter.take_threads(self._adapter.threads)

    def _in_turn(self, count: int, batch: list[Item]) -> None:
        for _ in range(count):
            self._adapter.core(batch)

    def _on(self, graph: AnyGraph | None, run: Callable[[], T]) -> T:
        """What ``run`` gives between two calls, on the graph, or on torch."""
        adapter = self._adapter

        def job() -> T:
            before = adapter.graph
            adapter.run_on(graph)
            try:
                return run()
            finally:
                adapter.run_on(before)

        return _between(self._front, job)


class StepTrial:
    """Of a graph of a model's step beside ``now``, as in a :class:`Trial`: few and many texts, short and
    long ones, are written on each, a few steps at a time between those of requests."""

    def __init__(
        self,
        adapter: ModelAdapter[Any, Any],
        front: Engine,
        now: Any = None,
        speed: float = 1.0,
    ) -> None:
        self._adapter, self._front, self._now, self._speed = adapter, front, now, speed

    def note(self, graph: Any) -> GraphNote:
        """The graph's note, with what was found of it."""
        from modeldeploy.worker.generation import check, graph_slab
        from modeldeploy.worker.generation.slab import Slab

        note: GraphNote = graph.stored.note
        apart, most = note.difference, graph_slab.allowed(graph)
        if not apart <= most:  # as whoever made it has found
            return _refused(graph, apart, most)
        model = self._adapter.model

        def on(step: Any) -> Running:
            if step is None:
                return Slab(model)
            step.use_threads(self._adapter.threads)
            return graph_slab.GraphSlab(model, step)

        on_now, on_graph = partial(on, self._now), partial(on, graph)

        def seconds(made: Callable[[], Running], rows: int, length: int) -> float:
            return _between(self._front, partial(check.seconds, made, rows, length))

        def turn(shape: tuple[int, int]) -> list[float]:
            return [seconds(on_now, *shape), seconds(on_graph, *shape)]

        lengths = check.within(self._adapter.max_input_length(), _STEP_LENGTHS)
        few, *more = product(_STEP_ROWS, lengths)
        most = self._front.most_places  # what is tried has keys and values beside those of requests
        gain = _ratio(turn, [few, *(one for one in more if math.prod(one) <= most)])
        for step in filter(None, (graph, self._now)):  # either may be in one
            self._front.between(step.release).result()
        return replace(note, speed=self._speed * gain)


def _between(front: Front, job: Callable[[], T]) -> T:
    """What the job gives, done between two calls; requests that came have the model to themselves for a
    while then."""
    busy, begun = front.busy_seconds, time.perf_counter()
    found = front.between(job).result()
    if front.busy_seconds != busy:
        front.closing.wait(_YIELDED * (time.perf_counter() - begun))
    return found


def _ratio(turn: Callable[[T], Sequence[float]], cases: Sequence[T]) -> float:
    """The first of the seconds that a turn of each case gives, over the second: the fastest of a few
    rounds count, of more where the two are nearly even."""
    fastest = [[math.inf, math.inf] for _ in cases]
    ratio = 1.0
    for done in range(1, _MOST_ROUNDS + 1):
        for case, sides in zip(cases, fastest, strict=True):
            sides[:] = map(min, sides, turn(case))
        ratio = sum(one for one, _ in fastest) / sum(other for _, other in fastest)
        if done >= _ROUNDS and not 1 / _NEARLY < ratio < _NEARLY:
            break
    return ratio


def _seconds(call: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def _refused(graph: AnyGraph, apart: float, most: float) -> GraphNote:
    """The note of a graph whose results are further ``apart`` than ``most``."""
    note = graph.stored.note
    far = f"would be off by {apart:.2g} {note.unit}, more than {most:g}"
    refused = f"results {far if math.isfinite(apart) else 'cannot be compared'}"
    return replace(note, refused=refused)
