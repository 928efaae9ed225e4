"""Which models several threads may call at once, and that they then compute what one does."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modeldeploy.schema.graph import Form
from modeldeploy.worker.compute import reentrancy
from tests.models import tiny
from tests.worker.adapters import inputs, loaded, parameters

TASK = "text-classification"
TEXTS = [
    "Ada moved to London.",
    "It rains.",
    "Nobody knows what they were looking for, or why.",
] * 8


class Caching(torch.nn.Module):
    """Keeps something for the next call: a buffer, or an attribute."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what
        self.layer = torch.nn.Linear(4, 4)
        self.longest = torch.zeros(1)
        self.register_buffer("angles", torch.zeros(1))

    def forward(self, given: torch.Tensor) -> Any:
        if self.what:
            setattr(self, self.what, torch.arange(float(len(given))))
        return self.layer(given)


@pytest.mark.parametrize(
    ("what", "is_as_it_was"), [("", True), ("longest", False), ("angles", False)]
)
def test_a_model_that_changes_itself_is_called_by_one(what: str, is_as_it_was: bool) -> None:
    model = Caching(what)
    assert reentrancy.leaves_as_is(model, lambda: model(torch.ones(3, 4))) == is_as_it_was


def test_angles_that_long_texts_change_are_found_without_one() -> None:
    model: Any = Caching("")
    model.layer.rope_type = "dynamic"
    assert not reentrancy.leaves_as_is(model, lambda: None)


@pytest.fixture(scope="module", name="adapter")
def _adapter(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return loaded(tiny.classifier(tmp_path_factory.mktemp("model")), TASK)


def _items(adapter: Any) -> list[Any]:
    return [
        item for text in TEXTS for item in adapter.pre(inputs(TASK, text=text), parameters(TASK))
    ]


def test_threads_at_once_get_what_one_gets(adapter: Any) -> None:
    assert adapter.runs_abreast(_items(adapter)[:1])
    items = _items(adapter)
    expected = adapter.core(items)
    ready = threading.Barrier(2)

    def lane() -> list[Any]:
        adapter.take_threads(1)
        ready.wait(10)
        return [adapter.core(items) for _ in range(10)]

    with ThreadPoolExecutor(2) as lanes:
        found = [lanes.submit(lane) for _ in range(2)]
    adapter.take_threads(2)
    for one in (raws for future in found for raws in future.result()):
        assert np.allclose(np.asarray(one), np.asarray(expected), atol=1e-5)


@pytest.mark.slow
def test_a_graph_has_a_session_for_each_number_of_threads(adapter: Any, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from modeldeploy.schema.graph import StoredGraph
    from modeldeploy.worker import exporter
    from modeldeploy.worker.compute import graphs
    from tests.worker.specs import worker_spec

    spec = worker_spec(Path(adapter.model.name_or_path), TASK, 1, dtype="float32")
    note = exporter.make(adapter, spec, tmp_path, Form("onnx"))
    graph = graphs.Graph(adapter.graphed, StoredGraph(tmp_path, note, Form("onnx")), 4)
    try:
        adapter.threads = 4
        adapter.run_on(graph)
        assert adapter.runs_abreast(_items(adapter)[:1])
        expected = adapter.core(_items(adapter))

        def lane(threads: int) -> tuple[Any, list[Any]]:
            adapter.take_threads(threads)
            return graph._mine(), adapter.core(_items(adapter))

        for threads, is_one in ((1, True), (2, False), (4, True)):
            ready = threading.Barrier(2)
            with ThreadPoolExecutor(2, initializer=ready.wait) as lanes:
                (one, some), (other, more) = lanes.map(lane, [threads] * 2)
            assert (one is other) == is_one
            assert one.threads == other.threads == threads
            for found in (some, more):
                assert np.allclose(np.asarray(found), np.asarray(expected), atol=1e-5)
    finally:
        adapter.run_on(None)
        adapter.take_threads(1)
