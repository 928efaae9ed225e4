"""What a graph of a step is tried on."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from modeldeploy.schema.graph import Form, GraphNote, StoredGraph
from modeldeploy.worker import improving, trying
from modeldeploy.worker.adapter import BatchLimits, Item
from modeldeploy.worker.batching.batcher import Batcher, Lanes
from modeldeploy.worker.compute import likeness, settling
from modeldeploy.worker.generation import check
from modeldeploy.worker.generation.slab import Slab
from tests.worker.generation.test_slab import random_model
from tests.worker.specs import worker_spec

ONNX, INT8 = Form("onnx"), Form("onnx", "int8")


class _Front:
    busy_seconds = 0.0
    most_places = 8 * 400

    def between(self, run: Callable[[], Any]) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(run())
        return done


def _tried(
    monkeypatch: pytest.MonkeyPatch, window: int | None, seconds: Callable[[bool, int], float]
) -> tuple[GraphNote, set[tuple[int, int]]]:
    """What is noted of a graph that takes so many seconds, and rows and lengths of the steps."""
    shapes = set()

    def stepped(made: Callable[[], Any], rows: int, length: int) -> float:
        shapes.add((rows, length))
        return seconds(made.args[0] is graph, length)  # type: ignore[attr-defined]  # a partial

    monkeypatch.setattr(check, "seconds", stepped)
    adapter: Any = SimpleNamespace(model=None, max_input_length=lambda: window)
    stored = SimpleNamespace(note=GraphNote(), form=Form("onnx"))
    graph = SimpleNamespace(stored=stored, is_exact=True, release=lambda: None)
    front: Any = _Front()
    return trying.StepTrial(adapter, front).note(graph), shapes


def test_a_graph_that_is_slower_on_long_texts_is_not_judged_by_short_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def seconds(is_graph: bool, length: int) -> float:
        return length / 10 if is_graph else 5.0

    note, shapes = _tried(monkeypatch, None, seconds)
    assert {rows for rows, _ in shapes} == {1, 4, 8}
    assert {length for _, length in shapes} == {16, 400}
    assert note.speed is not None
    assert note.speed < 1


def test_a_lower_precision_is_judged_beside_the_graph_that_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def graph(form: Form) -> Any:
        return SimpleNamespace(
            stored=StoredGraph(Path(), GraphNote(), form),
            is_exact=form == ONNX,
            release=lambda: None,
            use_threads=lambda count: None,
        )

    now, lower = graph(ONNX), graph(INT8)
    times = {None: 2.0, now.stored.form: 1.0, lower.stored.form: 0.8}

    def stepped(made: Any, rows: int, length: int) -> float:
        (step,) = made.args
        return times[step.stored.form if step else None]

    monkeypatch.setattr(check, "seconds", stepped)
    adapter: Any = SimpleNamespace(
        model=None, max_input_length=lambda: None, steps=True, graph=now, run_on=lambda graph: None
    )
    spec, front = worker_spec(Path(), "text-generation", 1, optimize="close"), cast("Any", _Front())
    improvement: Any = improving._Improvement(spec, adapter, front, None)
    improvement._wanted = [ONNX, INT8]
    stored = StoredGraph(Path(), GraphNote(speed=1.5), ONNX)  # beside packed weights
    improvement._found = {ONNX: stored}
    improvement._try(lower, [])
    assert improvement._found[INT8].note.speed == pytest.approx(1.5 / 0.8)


def test_no_text_is_longer_than_the_model_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    note, shapes = _tried(monkeypatch, 64, lambda is_graph, length: 1.0 if is_graph else 2.0)
    assert {length for _, length in shapes} == {16, 61}
    assert note.speed == pytest.approx(2.0)


def test_nothing_is_tried_that_takes_more_room_than_requests_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for most, tried in ((1700, {(1, 16), (1, 400), (4, 16), (4, 400), (8, 16)}), (3, {(1, 16)})):
        monkeypatch.setattr(_Front, "most_places", most)
        _, shapes = _tried(monkeypatch, None, lambda is_graph, length: 1.0)
        assert shapes == tried


def test_steps_that_are_timed_are_of_rows_so_long() -> None:
    slab = Slab(random_model("GPT2"))
    lengths = []
    step = slab.step

    def seen(tokens: list[int]) -> torch.Tensor:
        lengths.append([slab.row(at)[1] for at in range(slab.count)])
        return step(tokens)

    slab.step = seen  # type: ignore[method-assign]
    assert check.seconds(lambda: slab, 2, 125) > 0
    assert lengths == [[125, 125], [126, 126], [127, 127]]


@pytest.mark.parametrize(
    ("seconds", "ratio", "rounds"),
    [
        ([(2.0, 1.0)] * 3, 2.0, 3),
        ([(1.0, 2.0), (1.0, 2.5), (1.5, 2.0)], 0.5, 3),  # a disturbed round counts for nothing
        ([(1.0, 1.1)] * 5 + [(1.0, 0.8)], 1.25, 6),  # what is nearly even is looked at longer
        ([(1.0, 1.1)] * 3 + [(1.0, 0.8)], 1.25, 4),
    ],
)
def test_rounds_are_made_until_it_is_clear_which_is_faster(
    seconds: list[tuple[float, float]], ratio: float, rounds: int
) -> None:
    turns = iter(seconds)
    found = trying._ratio(lambda case: next(turns), ["a case"])
    assert found == pytest.approx(ratio)
    assert len(list(turns)) == len(seconds) - rounds


class _Adapter:
    """Any number of its calls take 50 ms; a graph's take 40, one after the other."""

    model, graph, threads = None, None, 2

    def __init__(self) -> None:
        self._one = threading.Lock()

    def run_on(self, graph: Any) -> None:
        self.graph = graph

    def core(self, items: list[Item]) -> list[Any]:
        if self.graph is None:
            time.sleep(0.05)
        else:
            with self._one:
                time.sleep(0.04)
        return []

    def runs_abreast(self, example: list[Item]) -> bool:
        return True

    def take_threads(self, count: int) -> None: ...


@pytest.mark.parametrize(("lanes", "speed"), [(None, 5 / 4), (Lanes(1, BatchLimits()), 5 / 8)])
def test_a_graph_is_tried_as_it_would_be_served(
    monkeypatch: pytest.MonkeyPatch, lanes: Lanes | None, speed: float
) -> None:
    monkeypatch.setattr(settling, "outcome", lambda model, call: call())
    monkeypatch.setattr(likeness, "difference", lambda *given: 0.0)
    stored = StoredGraph(Path(), GraphNote(), ONNX)
    adapter, graph = cast("Any", _Adapter()), cast("Any", SimpleNamespace(stored=stored))

    async def story() -> GraphNote:
        front = Batcher(adapter.core, BatchLimits(), 10)
        await asyncio.wrap_future(front.have_threads(2, lambda count: None))
        front.use(BatchLimits(), "", lanes)
        try:
            return await asyncio.to_thread(trying.Trial(adapter, front).note, graph, [[Item("a")]])
        finally:
            front.close()

    note = asyncio.run(asyncio.wait_for(story(), 20))
    assert note.speed == pytest.approx(speed, rel=0.2)
    assert adapter.graph is None
