"""Which forms of a model are tried, which is chosen, and what is told of the others."""

from __future__ import annotations

import importlib.util
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modeldeploy import extras
from modeldeploy.errors import UnsupportedModel, UnsupportedTask
from modeldeploy.schema.graph import Form, GraphNote, StoredGraph
from modeldeploy.schema.tasks import TASKS
from modeldeploy.schema.worker import WorkerSpec
from modeldeploy.worker import cpu, forms, improving
from modeldeploy.worker.compute import sessions
from modeldeploy.worker.tasks import adapter_of
from tests.models import tiny
from tests.worker.adapters import AnyAdapter, loaded
from tests.worker.specs import worker_spec

TASK = "text-classification"
ONNX, INT8 = Form("onnx"), Form("onnx", "int8")
OPENVINO, BF16 = Form("openvino"), Form("openvino", "bfloat16")


@pytest.fixture(scope="module", name="adapter")
def _adapter(tmp_path_factory: pytest.TempPathFactory) -> AnyAdapter:
    return loaded(tiny.classifier(tmp_path_factory.mktemp("model")), TASK, optimize="no")


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is installed, and the CPU has no bfloat16, whatever machine this is."""
    monkeypatch.setattr(extras, "missing", lambda extra: [])
    monkeypatch.setattr(sessions, "named", {"onnx": "ORT", "openvino": "OpenVINO"}.__getitem__)
    monkeypatch.setattr(cpu, "computes_bf16", lambda: False)


def _spec(**changes: Any) -> WorkerSpec:
    return worker_spec(Path(), TASK, 1, **{"graphs": "/graphs", **changes})


def _stored(form: Form, speed: float | None = None, refused: str = "") -> StoredGraph:
    return StoredGraph(Path(), GraphNote(speed=speed, refused=refused, difference=0.02), form)


@pytest.mark.parametrize(
    ("changes", "bf16", "wanted"),
    [
        ({}, True, [ONNX]),
        ({"optimize": "close"}, False, [ONNX, INT8]),
        ({"optimize": "no"}, False, []),
        ({"backend": "torch", "optimize": "close"}, False, []),
        ({"backend": "onnx", "optimize": "close"}, True, [ONNX, INT8]),
        ({"backend": "openvino"}, True, [OPENVINO]),
        ({"backend": "openvino", "optimize": "close"}, False, [OPENVINO]),
        ({"backend": "openvino", "optimize": "close"}, True, [OPENVINO, BF16]),
    ],
)
def test_what_is_tried(
    adapter: AnyAdapter,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    bf16: bool,
    wanted: list[Form],
) -> None:
    monkeypatch.setattr(cpu, "computes_bf16", lambda: bf16)
    assert forms.wanted(_spec(**changes), adapter) == wanted


@pytest.mark.parametrize(
    ("changes", "bf16", "is_lowered"),
    [
        ({"optimize": "close"}, True, True),
        ({"optimize": "close", "backend": "torch"}, True, True),
        ({"optimize": "close"}, False, False),
        ({"optimize": "equal"}, True, False),
        ({"optimize": "close", "backend": "onnx"}, True, False),
    ],
)
def test_torch_computes_in_bfloat16_where_the_cpu_does(
    adapter: AnyAdapter,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    bf16: bool,
    is_lowered: bool,
) -> None:
    monkeypatch.setattr(cpu, "computes_bf16", lambda: bf16)
    assert forms.is_lowered(adapter, _spec(**changes)) == is_lowered


def _state(**changes: Any) -> Any:
    return SimpleNamespace(spec=_spec(**changes))


def test_why_there_is_no_graph_is_told(
    adapter: AnyAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    front: Any = SimpleNamespace(closing=threading.Event())
    front.closing.set()
    improving.start(_state(backend="torch"), adapter, front)
    assert adapter.info().runs["graph"] == "torch: no graph: none is asked for"
    monkeypatch.setattr(extras, "missing", lambda extra: ["onnxruntime"])
    improving.start(_state(), adapter, front)
    assert (
        "onnxruntime not installed (pip install 'modeldeploy[onnx]')"
        in adapter.info().runs["graph"]
    )


def test_a_backend_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    adapter = adapter_of(TASKS[TASK])
    for backend, package in (("onnx", "onnxruntime"), ("openvino", "openvino")):
        with pytest.raises(
            UnsupportedModel, match=f"--backend {backend} needs {package}"
        ) as caught:
            forms.require(_spec(backend=backend), adapter)
        assert f"pip install 'modeldeploy[{backend}]'" in caught.value.hint
    forms.require(_spec(), adapter)
    forms.require(_spec(backend="torch"), adapter)


def test_a_task_that_is_not_one_graph_is_refused_before_it_is_loaded() -> None:
    adapter = adapter_of(TASKS["summarization"])
    spec = worker_spec(Path(), "summarization", 1, backend="onnx")
    with pytest.raises(UnsupportedTask, match="--backend onnx is not for summarization"):
        forms.require(spec, adapter)


@pytest.mark.parametrize(
    ("found", "backend", "chosen"),
    [
        ([], "auto", None),
        ([_stored(ONNX, 1.2)], "auto", ONNX),
        ([_stored(ONNX, 1.01)], "auto", ONNX),
        ([_stored(ONNX, 0.94)], "auto", None),
        ([_stored(ONNX, 0.96)], "auto", ONNX),
        ([_stored(ONNX, 0.7)], "onnx", ONNX),
        ([_stored(ONNX, refused="no")], "onnx", None),
        ([_stored(ONNX, 1.2), _stored(INT8, 1.5)], "auto", INT8),
        ([_stored(ONNX, 1.2), _stored(INT8, 1.22)], "auto", ONNX),
        ([_stored(ONNX, 0.7), _stored(INT8, 0.9)], "onnx", INT8),
        ([_stored(ONNX, 0.7), _stored(INT8, 0.9)], "auto", None),
        ([_stored(ONNX, 0.95), _stored(INT8, 1.0)], "auto", ONNX),
        ([_stored(ONNX, 1.2), _stored(INT8, refused="far")], "auto", ONNX),
        ([_stored(ONNX, refused="no"), _stored(INT8, 1.5)], "auto", INT8),
    ],
)
def test_the_fastest_is_chosen_and_the_equal_one_if_it_is_as_fast(
    found: list[StoredGraph], backend: str, chosen: Form | None
) -> None:
    best = forms.best(_spec(backend=backend), found)
    assert (best.form if best else None) == chosen


def test_what_runs_is_told_and_why_nothing_else_does() -> None:
    spec, forced = _spec(optimize="close"), _spec(backend="onnx")
    equal, slow = _stored(ONNX, 1.24), _stored(ONNX, 0.9)
    lower, far = _stored(INT8, 1.5), _stored(INT8, refused="results would be off by 0.3")

    def told(found: list[StoredGraph], of: WorkerSpec = spec) -> dict[str, str]:
        return forms.told(of, found, forms.best(of, found))

    assert told([equal, far]) == {
        "graph": "ORT, 1.2 times torch's speed, results equal to 2e-02 of their spread",
        "int8": "not used: results would be off by 0.3",
    }
    assert told([equal, lower]) == {
        "graph": "ORT in int8, 1.5 times torch's speed, results off by up to 0.02 of their spread"
    }
    assert told([slow]) == {"graph": "torch: ORT would run at 0.90 times torch's speed"}
    refused = [_stored(ONNX, refused="it cannot be traced")]
    assert told(refused, forced) == {
        "graph": "torch, although a graph was asked for: it cannot be traced"
    }
