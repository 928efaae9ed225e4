"""Adapters on tiny models, without a process around them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from modeldeploy.errors import ModelDeployError
from modeldeploy.schema.computing import Optimize
from modeldeploy.schema.graph import StoredGraph
from modeldeploy.schema.tasks import TASKS, TaskSchema
from modeldeploy.worker.adapter import Adapter, Source
from modeldeploy.worker.batching.front import Failure
from modeldeploy.worker.compute import settling
from modeldeploy.worker.examples import warm_up
from modeldeploy.worker.tasks import adapter_of

AnyAdapter = Adapter[Any, Any]
Make = Callable[[Any], tuple[Path, AnyAdapter]]


def source(snapshot: Path, task: str, **changes: Any) -> Source:
    defaults: dict[str, Any] = {
        "device": "cpu",
        "dtype": "float32",
        "threads": torch.get_num_threads(),
        "trust_remote_code": False,
        "allow_pickle": False,
        "progress": lambda done, total: None,
    }
    return Source(snapshot=str(snapshot), task=TASKS[task], **{**defaults, **changes})


def loaded(
    snapshot: Path,
    task: str,
    *,
    optimize: Optimize = "equal",
    graph: StoredGraph | None = None,
    **changes: Any,
) -> AnyAdapter:
    adapter = adapter_of(TASKS[task])
    where = source(snapshot, task, **changes)
    adapter.load(where)
    adapter.prepare(where)
    settling.settle(adapter, lambda: _warm_up(adapter, TASKS[task]), optimize=optimize, graph=graph)
    if optimize == "close":
        adapter.approximate()
    return adapter


def made_once(task: str) -> Any:
    """A fixture ``make``: of a function that makes a model, the model's folder and its adapter."""

    @pytest.fixture(scope="module", name="make")
    def fixture(tmp_path_factory: pytest.TempPathFactory) -> Make:
        @cache
        def make(maker: Any) -> tuple[Path, AnyAdapter]:
            folder = maker(tmp_path_factory.mktemp("model"))
            return folder, loaded(folder, task)

        return make

    return fixture


def _warm_up(adapter: AnyAdapter, task: TaskSchema) -> list[Any]:
    with contextlib.suppress(ModelDeployError):  # some models are too small for their example
        return warm_up(adapter, task)
    return []


def inputs(task: str, /, **fields: Any) -> Any:
    return TASKS[task].inputs(**fields)


def parameters(task: str, /, **fields: Any) -> Any:
    return TASKS[task].parameters(**fields)


def predict(adapter: AnyAdapter, one: Any, how: Any) -> Any:
    """The result for one input, each of its items run alone.

    Raises:
        ModelDeployError: the failure of one of them.
    """
    items = adapter.pre(one, how)
    raws = [raw for item in items for raw in adapter.core([item])]
    for raw in raws:
        if isinstance(raw, Failure):
            raise raw.error
    return adapter.post(raws, one, how)
