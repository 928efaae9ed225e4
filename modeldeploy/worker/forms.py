"""In which forms a model may be computed: what is asked for, what may be had, what was found before.

torch comes first. A graph of the model may stand for it: in float32, its results equal, or in a lower
precision, its results close.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from modeldeploy import extras
from modeldeploy.errors import UnsupportedTask
from modeldeploy.schema.graph import Form, Runtime, StoredGraph
from modeldeploy.schema.worker import WorkerSpec
from modeldeploy.worker import cpu
from modeldeploy.worker.adapter import Adapter

if TYPE_CHECKING:
    from modeldeploy.worker.tasks.model import ModelAdapter

AnyAdapter = Adapter[Any, Any]

_WORTH = 0.95  # times torch's speed: a graph takes half the memory, and measuring wavers by as much
_WORTH_A_LOSS = 1.05  # times the speed of what would run otherwise
_NO_GRAPH = "this model is not run as a graph"


def asked(spec: WorkerSpec) -> Runtime | None:
    """The runtime of graphs that the deployment is to have, whatever its speed."""
    return spec.backend if spec.backend in ("onnx", "openvino") else None


def require(spec: WorkerSpec, adapter: AnyAdapter) -> None:
    """Refuse a backend that cannot be had, by what is known before the model is loaded.

    Raises:
        UnsupportedModel: its packages are not installed. UnsupportedTask: there are no graphs of it.
    """
    if runtime := asked(spec):
        extras.require(runtime, f"--backend {runtime}")
        if not exports(adapter) or runtime not in adapter.runtimes:
            raise UnsupportedTask(
                f"--backend {runtime} is not for {spec.task}: {_NO_GRAPH}",
                hint="deploy it with --backend torch",
            )


def exports(adapter: AnyAdapter) -> TypeGuard[ModelAdapter[Any, Any]]:
    """Whether it is a task whose models, or parts or steps of them, are run as a graph."""
    if not hasattr(adapter, "model"):  # a task without a model needs no torch
        return False
    from modeldeploy.worker.tasks.model import ModelAdapter

    return isinstance(adapter, ModelAdapter) and adapter.exports


def refusal(spec: WorkerSpec, adapter: AnyAdapter) -> str:
    """Why no graph may stand for a loaded model, by what is known without trying; or nothing."""
    if spec.optimize == "no" or spec.backend == "torch" or spec.graphs is None:
        return "none is asked for"
    if not exports(adapter):
        return _NO_GRAPH
    if missing := extras.missing(_runtime(spec)):
        return (
            f"{' and '.join(missing)} not installed (pip install 'modeldeploy[{_runtime(spec)}]')"
        )
    info = adapter.info()
    if (info.device.partition(":")[0], info.dtype) != ("cpu", "float32"):
        return f"it computes in {info.dtype} on {info.device}"
    return ""


def wanted(spec: WorkerSpec, adapter: AnyAdapter) -> list[Form]:
    """The graphs that may stand for a loaded model, the equal one first."""
    if refusal(spec, adapter):
        return []
    forms = [Form(_runtime(spec))]
    if spec.optimize == "close" and _runtime(spec) == "onnx":
        forms.append(Form("onnx", "int8"))
    elif spec.optimize == "close" and cpu.computes_bf16():
        forms.append(Form("openvino", "bfloat16"))
    return forms


def _runtime(spec: WorkerSpec) -> Runtime:
    return asked(spec) or "onnx"


def is_lowered(adapter: AnyAdapter, spec: WorkerSpec) -> TypeGuard[ModelAdapter[Any, Any]]:
    """Whether torch itself is to compute a loaded model in bfloat16."""
    if spec.optimize != "close" or asked(spec) or not exports(adapter) or adapter.steps:
        return False
    if not cpu.computes_bf16():
        return False
    info = adapter.info()
    return (info.device, info.dtype) == ("cpu", "float32")


def folder(spec: WorkerSpec, form: Form) -> Path:
    """Where the graph in that form is kept."""
    from modeldeploy.worker.compute import graph_cache

    assert spec.graphs is not None
    return graph_cache.place(Path(spec.graphs), spec.snapshots, spec.task, form)


def known(spec: WorkerSpec, adapter: AnyAdapter) -> list[StoredGraph]:
    """What was found before of the graphs that may stand for a loaded model."""
    from modeldeploy.worker.compute import graph_cache

    found = (graph_cache.find(folder(spec, form), form) for form in wanted(spec, adapter))
    return [one for one in found if one and one.note.is_judged]


def best(spec: WorkerSpec, found: Iterable[StoredGraph]) -> StoredGraph | None:
    """What the model is to run on, of those that were judged, the equal one first; None: on torch. A
    lower precision must be faster than both."""
    chosen: StoredGraph | None = None
    for one in found:
        is_forced = asked(spec) is not None and one.form.precision == "float32"
        worth = _WORTH if one.form.precision == "float32" else _WORTH_A_LOSS
        worth = 0.0 if is_forced else worth
        other = speed(chosen) if asked(spec) else max(speed(chosen), speed(None))
        if not one.note.refused and (one.note.speed or 0.0) >= worth * other:
            chosen = one
    return chosen


def speed(stored: StoredGraph | None) -> float:
    """Of a judged graph, or of torch, in torch's own."""
    return (stored.note.speed or 0.0) if stored else 1.0


def told(
    spec: WorkerSpec, found: Iterable[StoredGraph], chosen: StoredGraph | None
) -> dict[str, str]:
    """How the model runs and why not otherwise, for ``/info``."""
    lines = {}
    for one in found:
        if one is chosen:
            lines["graph"] = _praise(one)
        elif one.form.precision != "float32":
            lines[one.form.precision] = f"not used: {_blame(one)}"
        elif asked(spec):
            lines["graph"] = f"torch, although a graph was asked for: {_blame(one)}"
        else:
            lines["graph"] = f"torch: {_blame(one)}"
    return lines


def _praise(stored: StoredGraph) -> str:
    from modeldeploy.worker.compute import sessions

    note, precision = stored.note, stored.form.precision
    name = sessions.named(stored.form.runtime)
    if precision == "float32":
        likeness = f"equal to {note.difference:.0e} of their spread"
    else:
        name += f" in {precision}"
        likeness = f"off by up to {note.difference:.2g} {note.unit}"
    return f"{name}, {speed(stored):.1f} times torch's speed, results {likeness}"


def _blame(stored: StoredGraph) -> str:
    from modeldeploy.worker.compute import sessions

    if stored.note.refused:
        return stored.note.refused
    runtime = sessions.named(stored.form.runtime)
    return f"{runtime} would run at {speed(stored):.2f} times torch's speed"
