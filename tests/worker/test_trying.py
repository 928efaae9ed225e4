"""What a graph of a step is tried on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from modeldeploy.schema.graph import Form, GraphNote
from modeldeploy.worker import trying
from modeldeploy.worker.generation import check
from modeldeploy.worker.generation.slab import Slab
from tests.worker.generation.test_slab import random_model


class _Front:
    busy_seconds = 0.0

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
        return seconds(made.__name__ == "on_graph", length)

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


def test_no_text_is_longer_than_the_model_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    note, shapes = _tried(monkeypatch, 64, lambda is_graph, length: 1.0 if is_graph else 2.0)
    assert {length for _, length in shapes} == {16, 61}
    assert note.speed == pytest.approx(2.0)


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
