"""What makes a model faster is kept only if it gives what the model gave, in company too; what does not
is undone, and nothing more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from modeldeploy.schema.graph import Form, GraphNote, StoredGraph
from modeldeploy.worker.adapter import BatchLimits
from modeldeploy.worker.compute import settling
from modeldeploy.worker.compute.graphs import original
from modeldeploy.worker.tasks.model import ModelAdapter
from modeldeploy.worker.tasks.text_generation import TextGeneration
from tests.models import tiny
from tests.worker.adapters import loaded

TASK = "text-classification"
STORED = StoredGraph(Path("none"), GraphNote(layout="unpadded", speed=2.0), Form("onnx"))

Change = Callable[[Any, dict[str, Any]], Any]


class _Graph:
    """Stands for an encoder as ``change`` makes it."""

    stored = STORED

    def __init__(self, module: Any, change: Change) -> None:
        self._forward, self._change = original(module), change

    def __call__(self, **given: Any) -> Any:
        return self._change(self._forward, given)

    def use_threads(self, count: int) -> None:
        pass


def _as_it_is(forward: Any, given: dict[str, Any]) -> Any:
    return forward(**given)


def _a_little_off(forward: Any, given: dict[str, Any]) -> Any:
    output = forward(**given)
    output.last_hidden_state = output.last_hidden_state * 1.0005
    return output


def _blind_to_masks(forward: Any, given: dict[str, Any]) -> Any:
    mask = given["attention_mask"]
    return forward(**{**given, "attention_mask": torch.zeros_like(mask)})


def _on(change: Change, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An adapter that was given such a graph."""
    monkeypatch.setattr(ModelAdapter, "graph_of", lambda self, stored: _Graph(self.graphed, change))
    return loaded(tiny.classifier(folder), TASK, graph=STORED)


def test_a_graph_that_gives_the_same_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = _on(_as_it_is, tmp_path / "model", monkeypatch)
    assert isinstance(adapter.holder.forward, _Graph)


@pytest.mark.parametrize("change", [_a_little_off, _blind_to_masks])
def test_a_graph_that_gives_others_is_all_that_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Change
) -> None:
    usual: Any = loaded(tiny.classifier(tmp_path / "usual"), TASK)
    adapter = _on(change, tmp_path / "model", monkeypatch)
    assert adapter.graph is None
    assert not isinstance(adapter.holder.forward, _Graph)
    assert adapter.layout == "unpadded"
    assert adapter.batch == usual.batch
    assert adapter.runs["batches"] == usual.runs["batches"]
    assert "plain" not in adapter.runs.get("weights", "")


def test_a_model_that_runs_as_it_is_has_the_limits_of_such_a_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "gap", lambda one, other: float("inf"))
    adapter: Any = loaded(tiny.classifier(tmp_path / "model"), TASK)
    assert adapter.layout == "padded"
    assert adapter.batch == BatchLimits(unit="tokens")
    assert adapter.runs["weights"].startswith("plain")


def test_packed_weights_are_not_taken_for_what_a_graph_of_a_step_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Predictions of whole calls are torch's there."""
    graph = _Graph(torch.nn.Identity(), _as_it_is)
    for name, value in {"graph_of": graph, "is_like": True, "stand_in": None}.items():
        monkeypatch.setattr(TextGeneration, name, lambda *given, value=value: value)
    monkeypatch.setattr(settling, "gap", lambda one, other: 2e-4)
    adapter: Any = loaded(tiny.llama(tmp_path / "model"), "text-generation", graph=STORED)
    assert adapter.graph is graph
