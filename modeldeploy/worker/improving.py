"""A deployment that gets faster while it serves: how much goes into a call of its model is measured, and
once the model has computed for a while, a graph of it is made in a process beside it, tried on the batches that came, and swapped in between two of them.

What was found is kept with the graph: the next deployment of that model starts on it, or knows that
it would not pay.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import logging
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import psutil

from modeldeploy.errors import ModelError
from modeldeploy.schema import tasks
from modeldeploy.schema.graph import GraphNote, StoredGraph
from modeldeploy.schema.worker import WorkerSpec
from modeldeploy.worker.adapter import Adapter, Item
from modeldeploy.worker.batching.batcher import Batcher
from modeldeploy.worker.batching.curve import Measuring
from modeldeploy.worker.batching.front import Front
from modeldeploy.worker.http.requests import example_items
from modeldeploy.worker.state import WorkerState

if TYPE_CHECKING:
    import torch

    from modeldeploy.worker.compute.graphs import Graph
    from modeldeploy.worker.tasks.model import ModelAdapter

log = logging.getLogger(__name__)

AnyAdapter = Adapter[Any, Any]

_PACKAGES = ("onnxruntime", "onnxscript")
_LATER = 1.0  # seconds after requests may come: who deployed is answered first
_BATCHES = 6  # that a graph is tried on
_ROUNDS = 2
_WORTH = 1.05  # times torch's speed
_COPIES, _BESIDES = 4, 1024**3  # of the weights and beside them: memory that making a graph takes
_PATIENCE = 1800.0  # seconds


def known(spec: WorkerSpec, adapter: AnyAdapter) -> StoredGraph | None:
    """The graph that this model is to start on, if one was made before and proved faster."""
    if not _fits(spec, adapter):
        return None
    from modeldeploy.worker.compute import graph_cache

    stored = graph_cache.find(_folder(spec, adapter))
    return stored if stored and _pays(spec, stored) else None


def require(spec: WorkerSpec, adapter: AnyAdapter) -> None:
    """
    Raises:
        ModelError: a graph is asked for, and it is known without trying that there can be none.
    """
    if spec.backend != "onnx" or _fits(spec, adapter):
        return
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelError(
            f"backend onnx: {' and '.join(missing)} not installed",
            hint="pip install 'modeldeploy[onnx]', or deploy it without --backend",
        )
    info = adapter.info()
    raise ModelError(
        f"backend onnx: there is no graph for {spec.task} on {info.device} in {info.dtype}",
        hint="there are some for models on a CPU in float32 that do not write text",
    )


def _worth(spec: WorkerSpec) -> float:
    """How many times torch's speed a graph must have."""
    return 0.0 if spec.backend == "onnx" else _WORTH


def _pays(spec: WorkerSpec, stored: StoredGraph) -> bool:
    return not stored.note.refused and (stored.note.speed or 0.0) >= _worth(spec)


def start(state: WorkerState, adapter: AnyAdapter, front: Front) -> None:
    """Begin to look for something faster, if there may be any. Called when requests may come."""
    if state.spec.optimize == "no":
        return
    measure = partial(_measure, state, adapter, front)
    improvement: _Improvement | None = None
    if _fits(state.spec, adapter):
        improvement = _Improvement(state.spec, adapter, front, measure)  # type: ignore[arg-type]  # it fits
    if improvement or adapter.trials:
        run = partial(_live, front, measure, improvement)
        threading.Thread(target=run, name="improving", daemon=True).start()


def _live(front: Front, measure: Callable[[], None], improvement: _Improvement | None) -> None:
    """A thread's whole life."""
    if front.closing.wait(_LATER):
        return
    with contextlib.suppress(CancelledError):  # the deployment is ending
        measure()
        if improvement:
            improvement.run()


def _measure(state: WorkerState, adapter: AnyAdapter, front: Front) -> None:
    """Choose how much goes into a call; where the model cannot be timed it stays as it is."""
    if not isinstance(front, Batcher):
        return

    def wanted() -> bool:
        return state.now.phase not in {"draining", "failed"}

    task = tasks.find(state.spec.task)
    assert task is not None
    try:
        Measuring(adapter, front, example_items(adapter, task), wanted).run()
        _give_back()
        log.info("calls are %s", front.calls)
    except CancelledError:
        raise
    except Exception:  # a made-up text or the example may be too much for a model
        log.info("how much goes into a call could not be measured", exc_info=True)


def _fits(spec: WorkerSpec, adapter: AnyAdapter) -> bool:
    """Whether a graph may stand for this model, by what is known without trying."""
    if spec.optimize == "no" or spec.backend == "torch" or spec.graphs is None:
        return False
    if not hasattr(adapter, "model"):  # a task without a model needs no torch
        return False
    if any(importlib.util.find_spec(name) is None for name in _PACKAGES):
        return False
    from modeldeploy.worker.tasks.model import ModelAdapter

    if not isinstance(adapter, ModelAdapter) or not adapter.exports:
        return False
    info = adapter.info()
    return info.device == "cpu" and info.dtype == "float32"


def _folder(spec: WorkerSpec, adapter: AnyAdapter) -> Path:
    from modeldeploy.worker.compute import graph_cache

    assert spec.graphs is not None
    snapshots = [one for one in (spec.snapshot, spec.companion) if one]
    return graph_cache.place(Path(spec.graphs), snapshots, spec.task, adapter.info().dtype)


def _give_back() -> None:
    """Have the allocator return what large calls took: who is not asked stays small."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # glibc's
        trim(0)


class _Traffic:
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


class _Improvement:
    """``measure`` is called when the model computes in another way."""

    def __init__(
        self,
        spec: WorkerSpec,
        adapter: ModelAdapter[Any, Any],
        front: Front,
        measure: Callable[[], None],
    ) -> None:
        self._spec, self._adapter, self._front = spec, adapter, front
        self._measure = measure
        self._folder = _folder(spec, adapter)

    def run(self) -> None:
        """Make the graph, try it, and have the model run on it where it pays."""
        try:
            self._run()
        except CancelledError:
            raise
        except Exception:  # the thread's boundary: the model serves as it did
            log.exception("looking for a faster form of the model has failed")
            self._say("torch: a graph could not be tried, see the log")

    def _say(self, words: str) -> None:
        self._adapter.runs["graph"] = words

    def _run(self) -> None:
        from modeldeploy.worker.compute import graph_cache, graphs

        worth, stored = _worth(self._spec), graph_cache.find(self._folder)
        if stored and _pays(self._spec, stored) and self._adapter.graph is None:
            graph_cache.forget(self._folder)  # it could not be opened, or gave something else
            stored = None
        if stored and (stored.note.refused or stored.note.speed is not None):
            self._say(graphs.words(stored.note, worth))
            return
        batches = self._traffic()
        stored = stored or self._made()
        if not stored.note.refused:
            graph = graphs.Graph(self._adapter.graphed, stored, self._adapter.threads)
            stored = replace(stored, note=self._tried(graph, stored.note, batches))
            graph_cache.write_note(self._folder, stored.note)
            if _pays(self._spec, stored):
                self._front.between(lambda: self._adapter.run_on(graph)).result()
                self._measure()
        self._say(graphs.words(stored.note, worth))
        log.info("how the model runs: %s", self._adapter.runs["graph"])

    def _traffic(self) -> list[list[Item]]:
        """The latest batches, once the model has computed for so long that a graph may pay; where one is
        asked for the task's example, at once."""
        if self._spec.backend == "onnx":
            task = tasks.find(self._spec.task)
            assert task is not None
            return [example_items(self._adapter, task)[:1]]
        traffic = self._adapter.on_call = _Traffic(self._spec.optimize_after)
        traffic.enough.wait()
        self._adapter.on_call = None
        return traffic.latest()

    def _made(self) -> StoredGraph:
        """The graph, made now or meanwhile."""
        from modeldeploy.worker.compute import graph_cache

        weights = 4 * (self._adapter.info().parameters or 0)
        needed = _COPIES * weights + _BESIDES
        if psutil.virtual_memory().available < needed:
            refused = f"making one takes {needed >> 20} MB of memory, and there is less"
            return StoredGraph(self._folder, GraphNote(refused=refused))
        self._say("torch; a graph is being made")
        command = [sys.executable, "-m", "modeldeploy.worker.exporter", str(self._folder)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as process:
            assert process.stdin is not None
            try:
                process.stdin.write(msgspec.json.encode(self._spec) + b"\n")
                process.stdin.flush()
                code = process.wait(_PATIENCE)
            finally:
                process.kill()
        found = graph_cache.find(self._folder)
        if found is None:
            raise RuntimeError(f"the process that makes the graph ended with {code}")
        return found

    def _tried(self, graph: Graph, note: GraphNote, batches: list[list[Item]]) -> GraphNote:
        """Run the batches on torch and on the graph, one call at a time between those of requests."""
        from modeldeploy.worker.compute.export import EQUAL
        from modeldeploy.worker.compute.likeness import gap

        plain = fast = difference = 0.0
        for batch in batches:
            turns = [(self._one(None, batch), self._one(graph, batch)) for _ in range(_ROUNDS)]
            plain += min(seconds for (_, seconds), _ in turns)
            fast += min(seconds for _, (_, seconds) in turns)
            (one, _), (other, _) = turns[0]
            difference = max(difference, gap(one, other))
        if difference > EQUAL:
            return msgspec.structs.replace(
                note, refused=f"on what came, its results would differ by {difference:.1e}"
            )
        return msgspec.structs.replace(
            note, speed=plain / fast, difference=max(note.difference, difference)
        )

    def _one(self, graph: Graph | None, batch: list[Item]) -> tuple[list[torch.Tensor], float]:
        """What the model's first call gives, and the seconds of the batch."""
        from modeldeploy.worker.compute.settling import first_output

        adapter = self._adapter

        def run() -> tuple[list[torch.Tensor], float]:
            adapter.run_on(graph)
            try:
                begun = time.perf_counter()
                found = first_output(adapter.model, lambda: adapter.core(batch))
                return found, time.perf_counter() - begun
            finally:
                adapter.run_on(None)

        return self._front.between(run).result()
