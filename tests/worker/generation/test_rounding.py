"""Int8 weights are written on where the model says nearly the same, and only there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modeldeploy.worker.compute import int8, timing
from modeldeploy.worker.generation import rounding
from tests.models import seq2seq, tiny
from tests.worker.adapters import inputs, loaded, parameters, predict

TASK = "text-generation"


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(autouse=True)
def _faster(monkeypatch: pytest.MonkeyPatch) -> None:
    def seconds(forwards: Any, given: Any) -> float:
        return 1.0 if getattr(forwards[0], "__name__", "") == "quick" else 2.0

    monkeypatch.setattr(timing, "seconds", seconds)


def _layers(adapter: Any) -> int:
    forwards = [vars(one).get("forward") for one in adapter.model.modules()]
    return sum(isinstance(one, int8.Rounded) for one in forwards)


def test_what_it_costs_is_measured_and_told(snapshot: Path) -> None:
    adapter: Any = loaded(snapshot, TASK, optimize="close")
    assert _layers(adapter)
    told = adapter.info().runs["steps"]
    assert told.startswith("int8 weights where at most 16 texts")
    assert 0 < float(told.split(": ")[1].split(" nats")[0]) <= 0.02
    asked = inputs(TASK, text="Once upon a time")
    assert predict(adapter, asked, parameters(TASK, max_new_tokens=5))[0].generated_text


def test_what_is_too_far_is_undone(snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounding, "MOST", 1e-12)
    adapter: Any = loaded(snapshot, TASK, optimize="close")
    assert _layers(adapter) == 0
    assert adapter.info().runs["steps"].startswith("as before: int8 weights would be")


def test_what_has_no_such_form_says_so(tmp_path: Path) -> None:
    adapter: Any = loaded(seq2seq.t5(tmp_path), "summarization", optimize="close")
    assert "nothing faster" in adapter.info().runs["precision"]


def test_only_where_it_was_asked_for(snapshot: Path) -> None:
    adapter: Any = loaded(snapshot, TASK)
    assert _layers(adapter) == 0
    assert "steps" not in adapter.info().runs
