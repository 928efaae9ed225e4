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
from modeldeploy.worker.compute.likeness import gap, tensors_of

log = logging.getLogger(__name__)

# Largest difference over the outputs' standard deviation.
_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.2, torch.float16: 0.05}


def settle(
    adapter: Adapter[Any, Any],
    predict: Callable[[], None],
    *,
    optimize: Optimize,
    graph: StoredGraph | None = None,
) -> None:
    """``predict`` once, which pages the weights in, and once more where the model then computes in
    another way (on ``graph``, where there is one); what does not give the same is undone."""
    model = getattr(adapter, "model", None)
    if not isinstance(model, torch.nn.Module):
        predict()
        adapter.settle(optimize=optimize)
        return
    before = first_output(model, predict)
    adapter.settle(optimize=optimize, graph=graph if optimize != "no" else None)
    if optimize == "no":
        return
    try:
        is_equal = _equal(before, first_output(model, predict))
    except ModelDeployError as error:
        log.info("made faster, the model fails: %s", error.message)
        is_equal = False
    if not is_equal:
        log.warning("made faster, the model would give other results: it runs as it is")
        adapter.unsettle()
    if optimize == "close":
        adapter.approximate()


def _equal(before: list[torch.Tensor], after: list[torch.Tensor]) -> bool:
    return gap(before, after) <= max((_TOLERANCE[one.dtype] for one in before), default=0.0)


def first_output(model: torch.nn.Module, predict: Callable[[], Any]) -> list[torch.Tensor]:
    """The tensors that the model's first call in a prediction gives."""
    found: list[list[torch.Tensor]] = []

    def look(module: Any, arguments: Any, output: Any) -> None:
        if not found:
            found.append([one.detach().clone() for one in tensors_of(output)])

    handle = model.register_forward_hook(look)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # some models draw from noise
            predict()
    finally:
        handle.remove()
    return found[0] if found else []
