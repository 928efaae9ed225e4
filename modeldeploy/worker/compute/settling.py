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
from modeldeploy.worker.compute.likeness import CLOSE, EQUAL, Outcome, gap, off, tensors_of

log = logging.getLogger(__name__)

# Largest difference over the outputs' standard deviation, of torch on packed weights: the order of sums
# alone moves SmolLM2-135M, of 30 layers, by 1.1e-4 in float32. A graph's is smaller.
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
    the graph is of a lower precision, is undone: the graph first. What the adapter makes up
    must give in company what each gives alone. ``predict`` gives the task's raw outputs."""
    model = getattr(adapter, "model", None)
    if not isinstance(model, torch.nn.Module):
        predict()
        adapter.settle(optimize=optimize)
        return
    before, alone = outcome(model, predict), _made_up(adapter, together=False)
    if optimize == "no":
        adapter.settle(optimize=optimize)
        return
    for tried in (graph, None) if graph else (None,):
        adapter.settle(optimize=optimize, graph=tried)
        if _is_fit(adapter, model, predict, before, alone):
            return
        log.warning("made faster, the model would give other results")
        adapter.unsettle()
    adapter.settle(optimize="no")


def _is_fit(
    adapter: Adapter[Any, Any],
    model: torch.nn.Module,
    predict: Callable[[], list[Any]],
    before: Outcome,
    alone: list[torch.Tensor],
) -> bool:
    try:
        after = outcome(model, predict)
    except ModelDeployError as error:
        log.info("made faster, the model fails: %s", error.message)
        return False
    if getattr(adapter, "predicts_less", False):
        return off(before.raws, after.raws) <= CLOSE
    together = _made_up(adapter, together=True) if alone else []
    is_graph = getattr(adapter, "graph", None) and not getattr(adapter, "steps", False)
    most = EQUAL if is_graph else None  # a step's is judged when it is opened
    return _equal([*before.first, *alone], [*after.first, *together], most)


def _made_up(adapter: Adapter[Any, Any], *, together: bool) -> list[torch.Tensor]:
    try:
        return adapter.made_up(together=together)
    except Exception as error:  # a made-up text may be too much for a model
        log.info("nothing was made up for the model: %s: %s", type(error).__name__, error)
        return []


def _equal(before: list[torch.Tensor], after: list[torch.Tensor], most: float | None) -> bool:
    tolerance = most or max((_TOLERANCE[one.dtype] for one in before), default=0.0)
    return gap(before, after) <= tolerance


def outcome(model: torch.nn.Module, predict: Callable[[], list[Any]]) -> Outcome:
    """What a prediction comes to."""
    found: list[list[torch.Tensor]] = []

    def look(module: Any, arguments: Any, output: Any) -> None:
        if not found:
            found.append([one.detach().clone() for one in tensors_of(output)])

    handle = model.register_forward_hook(look)
    try:
        devices = {one.device for one in model.parameters() if one.device.type == "cuda"}
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(0)  # some models draw from noise
            raws = predict()
    finally:
        handle.remove()
    return Outcome(found[0] if found else [], raws)
