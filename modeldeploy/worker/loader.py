"""The loading thread: weights (stage LOAD), tokenizer and a first forward (stage PIPELINE).

Whatever goes wrong here ends as one :class:`~modeldeploy.schema.problem.Problem`; the process
stays up to tell it.
"""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from modeldeploy.errors import InvalidRequest, ModelDeployError, ModelError, UnsupportedTask
from modeldeploy.schema import tasks
from modeldeploy.schema.problem import Problem
from modeldeploy.schema.stages import Stage
from modeldeploy.schema.tasks import TaskSchema
from modeldeploy.schema.worker import WorkerSpec
from modeldeploy.worker import forms
from modeldeploy.worker.adapter import Adapter, Source
from modeldeploy.worker.examples import warm_up
from modeldeploy.worker.failures import one_line
from modeldeploy.worker.loading.gguf import convert_once
from modeldeploy.worker.state import WorkerState
from modeldeploy.worker.tasks import adapter_of

log = logging.getLogger(__name__)

AnyAdapter = Adapter[Any, Any]


def start(state: WorkerState, loaded: Callable[[AnyAdapter], None]) -> None:
    """Load in a thread of its own; ``loaded`` is called there with the adapter, once it works."""
    thread = threading.Thread(target=_load, args=(state, loaded), name="loading", daemon=True)
    thread.start()


def _load(state: WorkerState, loaded: Callable[[AnyAdapter], None]) -> None:
    try:
        adapter = load(state)
        gc.collect()
        gc.freeze()  # the model never goes; full collections need not walk it
        loaded(adapter)
    except BaseException as error:  # the thread's boundary: a panic too must be told
        problem = _problem(error)
        log.error("loading failed: %s", problem.message, exc_info=error)
        state.update(phase="failed", message=problem.message, problem=problem)


def _problem(error: BaseException) -> Problem:
    if isinstance(error, ModelDeployError):
        return error.problem()
    return ModelError(
        f"the model cannot be loaded: {one_line(error)}", hint="see modeldeploy logs NAME"
    ).problem()


def find_task(spec: WorkerSpec) -> TaskSchema:
    """
    Raises:
        UnsupportedTask: this version has no such task.
    """
    task = tasks.find(spec.task)
    if task is None:
        raise UnsupportedTask(f"there is no task {spec.task!r}")
    return task


def load(state: WorkerState) -> AnyAdapter:
    """An adapter that has made its first prediction.

    Raises:
        ModelError, DeviceUnavailable: with one line of cause. InvalidRequest: the deployment asks for
            what this task does not have.
    """
    spec, task = state.spec, find_task(state.spec)

    def progress(done: int, total: int) -> None:
        state.update(
            fraction=done / total, message="loading weights", done=done, total=total, unit="tensors"
        )

    state.update(stage=Stage.LOAD, message="starting torch and transformers")
    adapter, source = adapter_of(task), source_of(spec, progress)
    _check_batching(adapter, spec)
    if spec.gguf is not None:
        state.update(message="making safetensors of the GGUF file, once")
        convert_once(Path(spec.gguf), Path(spec.snapshot))
    state.update(message="loading weights")
    adapter.load(source)
    state.update(
        stage=Stage.PIPELINE,
        fraction=0.0,
        message="loading the tokenizer",
        done=0,
        total=0,
        unit="",
    )
    adapter.prepare(source)
    forms.require(spec, adapter)
    info = adapter.info()
    state.update(fraction=0.5, message="first forward", device=info.device, dtype=info.dtype)
    _settle(adapter, spec)
    state.update(fraction=1.0, dtype=adapter.info().dtype)
    return adapter


def _settle(adapter: AnyAdapter, spec: WorkerSpec) -> None:
    predict = partial(warm_up, adapter, find_task(spec))
    if not hasattr(adapter, "model"):  # there is nothing to be made faster, and torch is not needed
        predict()
        return
    from modeldeploy.worker.compute import lowering, settling  # they import torch

    if forms.is_lowered(adapter, spec):
        adapter.runs["precision"] = lowering.lower(adapter.model, predict)
    known = forms.known(spec, adapter)
    best = forms.best(spec, known)
    settling.settle(adapter, predict, optimize=spec.optimize, graph=best)
    is_open = len(known) < len(forms.wanted(spec, adapter))
    may_step = forms.exports(adapter) and adapter.steps and (best or is_open)
    if spec.optimize == "close" and not may_step:
        adapter.approximate()


def _check_batching(adapter: AnyAdapter, spec: WorkerSpec) -> None:
    if spec.batching.max_tokens is not None and adapter.batch.unit != "tokens":
        raise InvalidRequest(
            f"max_batch_tokens: calls of a model for {spec.task} are not counted in tokens",
            hint="deploy it without --max-batch-tokens; --max-batch-size bounds the inputs of a call",
        )


def source_of(spec: WorkerSpec, progress: Callable[[int, int], None]) -> Source:
    """What the spec says is to be loaded."""
    return Source(
        snapshot=spec.snapshot,
        task=find_task(spec),
        device=spec.device,
        dtype=spec.dtype,
        threads=spec.threads,
        trust_remote_code=spec.trust_remote_code,
        allow_pickle=spec.allow_pickle,
        progress=progress,
        companion=spec.companion,
        memory=spec.memory,
        reserved=spec.reserved,
        kept=Path(spec.graphs) if spec.graphs else None,
    )


def opened(spec: WorkerSpec) -> AnyAdapter:
    """An adapter with its weights and its tokenizer; it has computed nothing.

    Raises:
        ModelError, DeviceUnavailable: with one line of cause.
    """
    adapter, source = adapter_of(find_task(spec)), source_of(spec, lambda done, total: None)
    adapter.load(source)
    adapter.prepare(source)
    return adapter
