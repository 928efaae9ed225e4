"""A deployment gets faster while it serves, by what it is allowed and by what is seen of it."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from modeldeploy import machine
from modeldeploy.errors import UnsupportedTask
from modeldeploy.schema.graph import Form, GraphNote, StoredGraph
from modeldeploy.schema.worker import WorkerSpec
from modeldeploy.worker import exporter, forms, improving, loader, trying
from modeldeploy.worker.adapter import Item
from modeldeploy.worker.calls import Calls
from modeldeploy.worker.compute import (
    export,
    graph_cache,
    graphs,
    likeness,
    pruning,
    sessions,
    settling,
)
from modeldeploy.worker.state import WorkerState
from tests.models import tiny
from tests.worker.adapters import inputs, loaded, parameters
from tests.worker.compute.test_graphs import CASES
from tests.worker.specs import worker_spec

pytest.importorskip("onnxruntime")

TASK = "text-classification"
ONNX, INT8 = Form("onnx"), Form("onnx", "int8")
SLOW, FAST = {None: 1.0, ONNX: 2.0, INT8: 4.0}, {None: 1.0, ONNX: 0.8, INT8: 0.4}  # seconds a call


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(improving, "_LATER", 0.0)


@pytest.fixture(name="model")
def _model(tmp_path: Path) -> Path:
    return tiny.classifier(tmp_path / "model")


def _spec(model: Path, **changes: Any) -> WorkerSpec:
    usual = {"dtype": "float32", "graphs": str(model.parent / "graphs"), "optimize_after": 0.001}
    return worker_spec(model, TASK, 1, **{**usual, **changes})


def _items(adapter: Any) -> list[Item]:
    text = "Ada moved from Paris to London, where she lives with her sister."
    found: list[Item] = adapter.pre(inputs(TASK, text=text), parameters(TASK))
    return found


def _served(spec: WorkerSpec, adapter: Any, until: Callable[[], bool], asked: bool = True) -> Any:
    """What a deployment answers to one text again and again until then; to none, if nobody asks."""

    async def serve() -> list[Any]:
        front = adapter.front(10, lambda count: None)
        improving.start(WorkerState(spec), adapter, front)
        found = []
        while not until():
            await asyncio.sleep(0.05)
            if asked:
                found.append((await front.run(_items(adapter))).raws)
        found.append((await front.run(_items(adapter))).raws)
        front.close()
        return found

    return asyncio.run(asyncio.wait_for(serve(), 200))


def _with_times(monkeypatch: pytest.MonkeyPatch, seconds: dict[Form | None, float]) -> None:
    """Graphs are made in this process, and whatever a call takes, these are the seconds measured."""

    def gain(self: Any, sides: list[tuple[graphs.Graph | None, Any]], batches: Any) -> float:
        now, then = (seconds[graph.stored.form if graph else None] for graph, _ in sides)
        return now / then

    def made(self: Any, wanted: StoredGraph) -> StoredGraph:
        wanted.folder.mkdir(parents=True)
        adapter = loader.opened(self._spec)
        note = exporter.make(adapter, self._spec, wanted.folder, wanted.form)
        graph_cache.write_note(wanted.folder, note)
        return replace(wanted, note=note)

    monkeypatch.setattr(trying.Trial, "_gain", gain)
    monkeypatch.setattr(improving._Improvement, "_made", made)


def _best(spec: WorkerSpec, adapter: Any) -> StoredGraph | None:
    return forms.best(spec, forms.known(spec, adapter))


@pytest.mark.slow
def test_a_deployment_finds_out_by_itself_how_to_run(model: Path) -> None:
    adapter: Any = loaded(model, TASK)
    spec = _spec(model)
    assert _best(spec, adapter) is None

    def is_found_out() -> bool:
        return not adapter.runs.get("graph", "torch; ").startswith("torch; ")

    found = _served(spec, adapter, is_found_out)
    assert all(np.allclose(one[0], found[0][0], atol=1e-4) for one in found)
    (place,) = (one for one in (model.parent / "graphs").iterdir() if one.is_dir())
    stored = graph_cache.find(place, ONNX)
    assert stored is not None
    assert stored.note.speed is not None
    is_graph = stored.note.speed >= forms._WORTH
    assert adapter.runs["graph"].startswith("ONNX Runtime" if is_graph else "torch")
    assert (_best(spec, adapter) is not None) == is_graph

    origin = msgspec.json.decode((place / "origin.json").read_bytes(), type=pruning.Origin)
    (seen,) = origin.snapshots
    assert (place.parent / seen).samefile(spec.snapshot)
    assert (origin.task, origin.form) == (TASK, ONNX)

    graph_cache.write_note(place, msgspec.structs.replace(stored.note, speed=2.0))
    again: Any = loaded(model, TASK, graph=_best(spec, adapter))
    assert isinstance(again.holder.forward, graphs.Graph)
    assert np.allclose(again.core(_items(again))[0], found[0][0], atol=1e-4)

    (place / sessions.FILE).write_bytes(b"nothing")
    plain: Any = loaded(model, TASK, graph=_best(spec, adapter))
    assert plain.graph is None

    _served(
        msgspec.structs.replace(spec, optimize_after=1e9),
        plain,
        lambda: not place.exists(),
        asked=False,
    )
    assert "graph" not in plain.runs, "nobody is told of a graph that does not run"


@pytest.mark.slow
def test_a_graph_that_was_asked_for_is_there_at_once_whatever_its_speed(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_times(monkeypatch, SLOW)
    adapter: Any = loaded(model, TASK)
    expected = adapter.core(_items(adapter))[0]
    spec = _spec(model, backend="onnx", optimize_after=1e9)
    found = _served(spec, adapter, lambda: "ONNX" in adapter.runs.get("graph", ""), asked=False)
    assert np.allclose(found[-1][0], expected, atol=1e-4)
    assert adapter.runs["graph"].startswith("ONNX Runtime")
    assert "0.5 times torch's speed" in adapter.runs["graph"]
    assert _best(_spec(model), adapter) is None, "nobody else wants it"


@pytest.mark.slow
def test_a_lower_precision_runs_where_it_is_faster_still_and_close(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_times(monkeypatch, FAST)
    adapter: Any = loaded(model, TASK)
    expected = adapter.core(_items(adapter))
    spec = _spec(model, optimize="close")
    found = _served(spec, adapter, lambda: " in int8" in adapter.runs.get("graph", ""))
    assert "int8" not in adapter.runs, "of what runs one line tells"
    assert 0 < likeness.off(expected, found[-1]) <= likeness.CLOSE
    best = _best(spec, adapter)
    assert best is not None
    assert best.form == INT8
    assert best.note.speed == pytest.approx(2.5)
    assert _best(_spec(model), adapter) != best, "it is for those who allow it"

    again: Any = loaded(model, TASK, optimize="close", graph=best)
    assert again.graph.stored.form == INT8
    monkeypatch.setattr(settling, "CLOSE", 0.0)
    other: Any = loaded(model, TASK, optimize="close", graph=best)
    assert other.graph is None, "its first prediction is too far off"


@pytest.mark.slow
def test_a_lower_precision_that_is_not_close_is_turned_down_with_its_figure(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_times(monkeypatch, FAST)
    monkeypatch.setattr(likeness, "CLOSE", 1e-9)
    adapter: Any = loaded(model, TASK)
    spec = _spec(model, optimize="close")
    _served(spec, adapter, lambda: "results would be off" in adapter.runs.get("int8", ""))
    assert adapter.graph.stored.form == ONNX
    assert adapter.runs["graph"].startswith("ONNX Runtime")
    assert "more than 1e-09" in adapter.runs["int8"]
    assert [one.form for one in forms.known(spec, adapter)] == [ONNX, INT8], "nobody tries again"


def test_a_graph_that_was_asked_for_and_cannot_be_made_is_told_of(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = GraphNote(refused="torch cannot trace it")
    monkeypatch.setattr(
        improving._Improvement, "_made", lambda self, wanted: replace(wanted, note=note)
    )
    adapter: Any = loaded(model, TASK)
    spec = _spec(model, backend="onnx")
    _served(spec, adapter, lambda: "asked for" in adapter.runs.get("graph", ""), asked=False)
    assert adapter.graph is None
    assert "torch cannot trace it" in adapter.runs["graph"]


def test_no_graph_is_made_where_memory_would_have_the_worker_ended_for_it(model: Path) -> None:
    adapter: Any = loaded(model, TASK)
    spec = _spec(model, memory=400_000_000)
    _served(spec, adapter, lambda: "--memory" in adapter.runs.get("graph", ""))
    assert adapter.runs["graph"].startswith("torch: making one takes")
    assert forms.known(spec, adapter) == [], "one with more memory makes it"


def test_no_graph_is_made_where_the_container_has_too_little_memory_for_it(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "memory_available", lambda: 400_000_000)
    adapter: Any = loaded(model, TASK)
    _served(_spec(model), adapter, lambda: "there is less" in adapter.runs.get("graph", ""))
    assert adapter.runs["graph"].startswith("torch: making one takes")


def test_whoever_looks_for_graphs_has_those_removed_that_nobody_opens(model: Path) -> None:
    adapter: Any = loaded(model, TASK)
    spec = _spec(model, optimize_after=1e9)
    old = model.parent / "graphs" / ("a" * 32)
    old.mkdir(parents=True)
    graph_cache.write_note(old, GraphNote())
    os.utime(old / "graph.json", (0, 0))
    _served(spec, adapter, lambda: not old.exists(), asked=False)


def test_what_befalls_the_process_that_makes_a_graph_is_not_kept(model: Path) -> None:
    adapter: Any = loaded(model, TASK)
    spec = _spec(model)
    (model / "model.safetensors").unlink()  # in a cache that somebody clears
    _served(spec, adapter, lambda: "see the log" in adapter.runs.get("graph", ""))
    assert adapter.runs["graph"].startswith("torch: ")
    assert not [one for one in (model.parent / "graphs").iterdir() if one.is_dir()]


@pytest.mark.parametrize(
    ("error", "is_kept"),
    [
        (RuntimeError("cannot be traced"), True),
        (OSError("could not get source code"), True),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (MemoryError(), False),
    ],
)
def test_what_the_system_refuses_says_nothing_of_a_model(
    tmp_path: Path, error: Exception, is_kept: bool
) -> None:
    (tmp_path / "half").touch()
    with (
        pytest.raises(export.NotExportable if is_kept else type(error)),
        export.all_or_nothing(tmp_path),
    ):
        raise error
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_says_nothing_of_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=4096))
    with pytest.raises(RuntimeError, match="of ONNX Runtime"), export.all_or_nothing(tmp_path):
        raise RuntimeError("of ONNX Runtime, which names no cause")


@pytest.mark.slow
def test_a_graph_that_was_damaged_before_it_was_tried_is_made_anew(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_times(monkeypatch, FAST)
    adapter: Any = loaded(model, TASK)
    spec = _spec(model)
    place = forms.folder(spec, ONNX)
    place.mkdir(parents=True)
    (place / sessions.FILE).write_bytes(b"nothing")
    graph_cache.write_note(place, GraphNote())
    _served(spec, adapter, lambda: _best(spec, adapter) is not None)
    assert adapter.graph is not None


@pytest.mark.slow
@pytest.mark.parametrize(("seconds", "times"), [(FAST, 3), (SLOW, 1)])
def test_calls_are_measured_again_once_a_graph_runs(
    model: Path, monkeypatch: pytest.MonkeyPatch, seconds: dict[Form | None, float], times: int
) -> None:
    _with_times(monkeypatch, seconds)
    measured: list[bool] = []
    adapter: Any = loaded(model, TASK)
    monkeypatch.setattr(Calls, "settle", lambda self: measured.append(adapter.graph is not None))
    monkeypatch.setattr(Calls, "follow", lambda self: None)
    spec = _spec(model, optimize="close")
    _served(spec, adapter, lambda: len(forms.known(spec, adapter)) == 2 and len(measured) >= times)
    assert measured == [False, True, True][:times]


@pytest.mark.slow
def test_a_text_generator_finds_out_by_itself_how_to_write(tmp_path: Path) -> None:
    task, model = "text-generation", tiny.gpt2(tmp_path / "model")
    adapter: Any = loaded(model, task)
    graphs_of = str(tmp_path / "graphs")
    spec = worker_spec(model, task, 1, dtype="float32", graphs=graphs_of, optimize_after=0.001)

    def items() -> list[Item]:
        found: list[Item] = adapter.pre(
            inputs(task, text="Once"), parameters(task, max_new_tokens=9)
        )
        return found

    expected = adapter.core(items())[0][0].text

    async def serve() -> None:
        front = adapter.front(10, lambda count: None)
        improving.start(WorkerState(spec), adapter, front)
        while adapter.runs.get("graph", "torch; ").startswith("torch; "):
            assert (await front.run(items())).raws[0][0].text == expected
            await asyncio.sleep(0.2)  # making a graph has what others leave
        assert (await front.run(items())).raws[0][0].text == expected
        front.close()

    asyncio.run(asyncio.wait_for(serve(), 200))
    (found,) = forms.known(spec, adapter)
    assert not found.note.refused
    assert (found.note.speed or 0.0) > 0
    assert found.note.difference <= likeness.EQUAL
    assert (adapter.graph is not None) == adapter.runs["graph"].startswith("ONNX Runtime")


def test_a_text_generator_may_write_on_rounded_weights(tmp_path: Path) -> None:
    adapter: Any = loaded(tiny.gpt2(tmp_path / "model"), "text-generation")
    usual = {"dtype": "float32", "graphs": str(tmp_path / "graphs")}
    spec = worker_spec(tmp_path / "model", "text-generation", 1, optimize="close", **usual)
    assert forms.wanted(spec, adapter) == [ONNX, INT8]
    assert not forms.is_lowered(adapter, spec), (
        "its weights stay as they are: prompts are read by torch"
    )
    with pytest.raises(UnsupportedTask, match="--backend openvino"):
        forms.require(msgspec.structs.replace(spec, backend="openvino"), adapter)


@pytest.mark.slow
def test_of_what_listens_and_writes_the_ear_is_tried(tmp_path: Path) -> None:
    make, task, asked = CASES["speech"]
    adapter: Any = loaded(make(tmp_path / "model"), task)
    usual = {"dtype": "float32", "graphs": str(tmp_path / "graphs"), "optimize_after": 0.001}
    spec = worker_spec(tmp_path / "model", task, 1, **usual)

    async def serve() -> None:
        front = adapter.front(10, lambda count: None)
        improving.start(WorkerState(spec), adapter, front)
        while adapter.runs.get("graph", "torch; ").startswith("torch; "):
            items = adapter.pre(inputs(task, **asked[0]), parameters(task))
            await front.run(items)
            await asyncio.sleep(0.2)  # making a graph has what others leave
        front.close()

    asyncio.run(asyncio.wait_for(serve(), 200))
    (found,) = forms.known(spec, adapter)
    assert not found.note.refused
    assert found.note.speed is not None
