"""A loaded model made faster, and its first prediction made before and after: they must be equal."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch

from modeldeploy.errors import ModelDeployError
from modeldeploy.schema.computing import Optimize
from modeldeploy.schema.graph import StoredGraph
from modeldeploy.worker.adapter import Adapter
from modeldeploy.worker.compute.likeness import CLOSE, Outcome, gap, off, tensors_of

log = logging.getLogger(__name__)

# Largest difference over the outputs' standard deviation.
_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.2, torch.float16: 0.05}


def settle(
    adapter: Adapter[Any, Any],
    predict: Callable[[], list[Any]],
    *,
    optimize: Optimize,
    graph: StoredGraph | None = None,
) -> None:
    """``predict`` once, which pages the weights in, and once more where the model then computes in
    another way (on ``graph``, where there is one); what does not give the same, or close to it where
    the graph is of a lower precision, is undone. ``predict`` gives the task's raw outputs."""
    model = getattr(adapter, "model", None)
    if not isinstance(model, torch.nn.Module):
        predict()
        adapter.settle(optimize=optimize)
        return
    before = outcome(model, predict)
    adapter.settle(optimize=optimize, graph=graph if optimize != "no" else None)
    if optimize == "no":
        return
    try:
        after = outcome(model, predict)
        is_less: bool = getattr(adapter, "predicts_less", False)
        is_fit = off(before.raws, after.raws) <= CLOSE if is_less else _equal(before, after)
    except ModelDeployError as error:
        log.info("made faster, the model fails: %s", error.message)
        is_fit = False
    if not is_fit:
        log.warning("made faster, the model would give other results: it runs as it is")
        adapter.unsettle()


def _equal(before: Outcome, after: Outcome) -> bool:
    tolerance = max((_TOLERANCE[one.dtype] for one in before.first), default=0.0)
    return gap(before.first, after.first) <= tolerance


def outcome(model: torch.nn.Module, predict: Callable[[], list[Any]]) -> Outcome:
    """What a prediction comes to."""
    found: list[list[torch.Tensor]] = []

    def look(module: Any, arguments: Any, output: Any) -> None:
        if not found:
            found.append([one.detach().clone() for one in tensors_of(output)])

    handle = model.register_forward_hook(look)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # some models draw from noise
            raws = predict()
    finally:
        handle.remove()
    return Outcome(found[0] if found else [], raws)
