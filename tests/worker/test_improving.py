"""What computes is what was asked for: torch, or a graph, or it is said why not."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path
from typing import Any

import pytest

from modeldeploy.errors import ModelError
from modeldeploy.worker import improving
from modeldeploy.worker.compute import graph_cache
from modeldeploy.worker.state import WorkerState
from tests.models import tiny
from tests.worker.adapters import loaded
from tests.worker.specs import worker_spec

pytest.importorskip("onnxruntime")
TASK = "text-classification"


def _spec(model: Path, **more: Any) -> Any:
    more = {"dtype": "float32", "graphs": str(model.parent / "graphs"), **more}
    return worker_spec(model, TASK, 1, **more)


def test_a_graph_that_cannot_be_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny.classifier(tmp_path / "model")
    adapter: Any = loaded(model, TASK)
    improving.require(_spec(model, backend="onnx"), adapter)
    improving.require(_spec(model, backend="torch"), adapter)

    writer = tiny.gpt2(tmp_path / "writer")
    with pytest.raises(ModelError, match="no graph for text-generation on cpu in float32"):
        improving.require(
            worker_spec(writer, "text-generation", 1, backend="onnx", graphs=str(tmp_path)),
            loaded(writer, "text-generation"),
        )

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name)
    )
    with pytest.raises(ModelError, match="onnxruntime not installed") as told:
        improving.require(_spec(model, backend="onnx"), adapter)
    assert "modeldeploy[onnx]" in str(told.value.hint)


@pytest.mark.slow
def test_a_graph_that_is_asked_for_is_made_at_once_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever its speed, and without a request."""
    monkeypatch.setattr(improving, "_WORTH", 1e9)
    monkeypatch.setattr(improving, "_LATER", 0.0)
    model = tiny.classifier(tmp_path / "model")
    adapter: Any = loaded(model, TASK)
    spec = _spec(model, backend="onnx", optimize_after=1e9)

    async def serve() -> None:
        front = adapter.front(10, lambda count: None)
        improving.start(WorkerState(spec), adapter, front)
        while not adapter.runs.get("graph", "torch; ").startswith(("ONNX", "torch:")):
            await asyncio.sleep(0.05)
        front.close()

    asyncio.run(asyncio.wait_for(serve(), 200))
    assert adapter.runs["graph"].startswith("ONNX Runtime"), adapter.runs
    assert adapter.graph is not None
    assert improving.known(spec, adapter) is not None
    assert improving.known(_spec(model), adapter) is None, "by itself it would not be used"
    assert improving.known(_spec(model, backend="torch"), adapter) is None
    (place,) = (one for one in (tmp_path / "graphs").iterdir() if one.is_dir())
    stored = graph_cache.find(place)
    assert stored is not None
    assert stored.note.speed is not None
