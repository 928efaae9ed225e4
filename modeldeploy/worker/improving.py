"""A deployment that gets faster while it serves: how much goes into a call of its model is measured, and
once the model has computed for a while, graphs of it are made in a process beside it, tried on the batches
that came, and the best is swapped in between two of them. A graph that was asked for is made at once.

What was found is kept with each graph: the next deployment of that model starts on the best, or knows
that none would pay.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import CancelledError
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from modeldeploy import machine
from modeldeploy.schema import tasks
from modeldeploy.schema.graph import Form, GraphNote, StoredGraph
from modeldeploy.schema.worker import WorkerSpec
from modeldeploy.worker import examples, forms
from modeldeploy.worker.adapter import Item
from modeldeploy.worker.batching.batcher import Batcher
from modeldeploy.worker.batching.front import Front
from modeldeploy.worker.calls import Calls
from modeldeploy.worker.forms import AnyAdapter
from modeldeploy.worker.state import WorkerState
from modeldeploy.worker.trying import StepTrial, Traffic, Trial

if TYPE_CHECKING:
    from modeldeploy.worker.compute.graphs import AnyGraph
    from modeldeploy.worker.generation.engine import Engine
    from modeldeploy.worker.tasks.model import ModelAdapter

log = logging.getLogger(__name__)

_LATER = 1.0  # seconds after requests may come: who deployed is answered first
_COPIES, _BESIDES = 4, 1024**3  # of the weights and beside them: memory that making a graph takes
_ON_DISK = 3  # copies of the weights: torch's graph and the one that is optimised, and some room
_PATIENCE = 1800.0  # seconds


def start(state: WorkerState, adapter: AnyAdapter, front: Front) -> None:
    """Begin to look for something faster, if there may be any. Called when requests may come."""
    calls = Calls(state, adapter, front) if isinstance(front, Batcher) else None
    improvement: _Improvement | None = None
    if forms.exports(adapter):
        if refusal := forms.refusal(state.spec, adapter):
            adapter.runs["graph"] = f"torch: no graph: {refusal}"
        else:
            improvement = _Improvement(state.spec, adapter, front, calls)
    if state.spec.optimize != "no" and (improvement or adapter.trials):
        run = partial(_live, front, calls, improvement)
        threading.Thread(target=run, name="improving", daemon=True).start()


def _live(front: Front, calls: Calls | None, improvement: _Improvement | None) -> None:
    """A thread's whole life."""
    with contextlib.suppress(CancelledError):  # the deployment is ending
        if calls:
            calls.recall()
        if front.closing.wait(_LATER):
            return
        if calls:
            calls.settle()
            threading.Thread(target=_follow, args=(calls,), name="calls", daemon=True).start()
        if improvement:
            improvement.run()


def _follow(calls: Calls) -> None:
    """A thread's whole life."""
    with contextlib.suppress(CancelledError):  # the deployment is ending
        calls.follow()


class _Improvement:
    def __init__(
        self,
        spec: WorkerSpec,
        adapter: ModelAdapter[Any, Any],
        front: Front,
        calls: Calls | None,
    ) -> None:
        self._spec, self._adapter, self._front = spec, adapter, front
        self._calls = calls
        self._wanted = forms.wanted(spec, adapter)
        self._found: dict[Form, StoredGraph] = {}

    def run(self) -> None:
        """Find out of each form that may be had, and have the model run on the best."""
        try:
            self._run()
        except CancelledError:
            raise
        except Exception:  # the thread's boundary: the model serves as it did
            log.exception("looking for a faster form of the model has failed")
            self._adapter.runs["graph"] = "a graph could not be tried, see the log"
        finally:
            self._adapter.on_call = None

    def _run(self) -> None:
        self._recall()
        traffic = Traffic(self._spec.optimize_after)
        for form in self._wanted:
            if form not in self._found:
                self._adapter.on_call = traffic
                self._judge(form, traffic)
        self._tell()
        for what, words in self._adapter.runs.items():
            log.info("how the model runs: %s: %s", what, words)

    def _recall(self) -> None:
        """What is known of before; without a graph that the model should run on and does not: it
        could not be opened, or the first prediction differed."""
        from modeldeploy.worker.compute import graph_cache, pruning

        found = forms.known(self._spec, self._adapter)
        assert self._spec.graphs is not None
        pruning.prune(Path(self._spec.graphs))
        best = forms.best(self._spec, found)
        if best and self._adapter.graph is None:
            graph_cache.forget(best.folder)
            found.remove(best)
        self._found = {one.form: one for one in found}
        self._tell()

    @property
    def _judged(self) -> list[StoredGraph]:
        return [self._found[form] for form in self._wanted if form in self._found]

    @property
    def _best(self) -> StoredGraph | None:
        return forms.best(self._spec, self._judged)

    def _tell(self) -> None:
        for form in self._found:  # no longer being made
            self._adapter.runs.pop(form.precision, None)
        self._adapter.runs.update(forms.told(self._spec, self._judged, self._best))

    def _judge(self, form: Form, traffic: Traffic) -> None:
        """Find out of the graph in that form, and run on it if it is the best."""
        from modeldeploy.worker.compute import graph_cache

        is_urgent = form.precision == "float32" and forms.asked(self._spec) is not None
        if not is_urgent:
            traffic.enough.wait()
        place = forms.folder(self._spec, form)
        stored = graph_cache.find(place, form)
        graph = self._opened(stored) if stored else None
        if stored is None or not (graph or stored.note.refused):
            stored = self._made(StoredGraph(place, GraphNote(), form))
            graph = self._opened(stored)
        if graph is None:
            refused = stored.note.refused or "it cannot be opened, see the log"
            self._found[form] = replace(stored, note=GraphNote(refused=refused))
            self._tell()
            return
        if is_urgent:  # of its speed the example tells too little to be kept
            is_other = self._try(graph, self._examples())
            self._tell()
            if is_other:
                self._settle_calls()
            traffic.enough.wait()
        is_other = self._try(graph, [*self._examples(), *traffic.latest()])
        graph_cache.write_note(place, self._found[form].note)
        self._tell()
        if is_other:
            self._settle_calls()

    def _opened(self, stored: StoredGraph) -> AnyGraph | None:
        """The graph, if there is one; what cannot be opened, not even to be tried, is forgotten."""
        from modeldeploy.worker.compute import graph_cache

        if stored.note.refused:
            return None
        try:
            return self._adapter.graph_of(stored)
        except Exception:  # ONNX Runtime raises what it likes on files that it cannot read
            log.warning("the graph in %s cannot be opened", stored.folder, exc_info=True)
            graph_cache.forget(stored.folder)
            return None

    def _settle_calls(self) -> None:
        """They are others when the model computes in another way."""
        if self._calls:
            self._calls.settle()

    def _try(self, graph: AnyGraph, batches: list[list[Item]]) -> bool:
        """Run on the graph if it proves the best, on these batches or of a step on texts of its own: in
        float32 beside torch, in a lower precision beside what runs now. Whether the model computes in
        another way since."""
        stored, adapter, front = graph.stored, self._adapter, self._front
        now, speed = adapter.graph, forms.speed(self._best)
        if stored.form.precision == "float32":
            now, speed = None, 1.0
        if adapter.steps:
            note = StepTrial(adapter, cast("Engine", front), now, speed).note(graph)
        else:
            note = Trial(adapter, front, now, speed).note(graph, batches)
        self._found[stored.form] = replace(stored, note=note)
        is_best, runs = self._best is self._found[stored.form], adapter.graph is graph
        if is_best != runs:
            front.between(lambda: adapter.run_on(graph if is_best else None)).result()
        return is_best != runs

    def _examples(self) -> list[list[Item]]:
        """Batches of one: those that the model's first prediction is made of."""
        task = tasks.find(self._spec.task)
        assert task is not None
        return [[item] for item in examples.items(self._adapter, task)]

    def _made(self, wanted: StoredGraph) -> StoredGraph:
        """The graph, made now or meanwhile; or why there is none now, which is kept nowhere."""
        from modeldeploy.worker.compute import graph_cache

        if refused := self._short_of(wanted.folder.parent):
            return replace(wanted, note=GraphNote(refused=refused))
        if wanted.form.precision == "float32":
            self._adapter.runs["graph"] = "torch; a graph is being made"
        else:
            self._adapter.runs[wanted.form.precision] = "a graph is being made"
        command = [sys.executable, "-m", "modeldeploy.worker.exporter", str(wanted.folder)]
        command += [wanted.form.runtime, wanted.form.precision]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as process:
            assert process.stdin is not None
            try:
                process.stdin.write(msgspec.json.encode(self._spec) + b"\n")
                process.stdin.flush()
                how = f"ended with {process.wait(_PATIENCE)}"
            except subprocess.TimeoutExpired:
                how = f"was not done in {_PATIENCE:g} s"
            finally:
                process.kill()
        found = graph_cache.find(wanted.folder, wanted.form)
        if found is None:
            # What has befallen it says nothing of the model: the next deployment tries again.
            refused = f"the process that was to make one {how}, see the log"
            return replace(wanted, note=GraphNote(refused=refused))
        return found

    def _short_of(self, root: Path) -> str:
        """What there is too little of to make a graph now, in words; or nothing."""
        weights = 4 * (self._adapter.info().parameters or 0)
        needed = _COPIES * weights + _BESIDES
        takes = f"making one takes {needed >> 20} MB of memory"
        if machine.memory_available() < needed:
            return f"{takes}, and there is less"
        # Whatever a worker starts counts with it, and it would be ended for it.
        if self._spec.memory and self._spec.memory - machine.own_bytes() < needed:
            return f"{takes}, and --memory leaves less"
        needed = _ON_DISK * weights
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        if shutil.disk_usage(root).free < needed:
            return f"making one takes {needed >> 20} MB on the disk, and there is less"
        return ""
