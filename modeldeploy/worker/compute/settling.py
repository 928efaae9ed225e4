"""A loaded model made faster, and its first prediction made before and after: they must be equal."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch

from modeldeploy.errors import ModelDeployError
from modeldeploy.worker.adapter import Adapter

log = logging.getLogger(__name__)

# Largest difference over the outputs' standard deviation.
_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.2, torch.float16: 0.05}


def settle(adapter: Adapter[Any, Any], predict: Callable[[], None], *, optimize: bool) -> None:
    """``predict`` once, which pages the weights in, and once more where the model then computes in
    another way; what does not give the same is undone."""
    model = getattr(adapter, "model", None)
    if not isinstance(model, torch.nn.Module):
        predict()
        adapter.settle(optimize=optimize)
        return
    before = _first_output(model, predict)
    adapter.settle(optimize=optimize)
    if not optimize:
        return
    try:
        is_equal = _equal(before, _first_output(model, predict))
    except ModelDeployError as error:
        log.info("made faster, the model fails: %s", error.message)
        is_equal = False
    if not is_equal:
        log.warning("made faster, the model would give other results: it runs as it is")
        adapter.unsettle()


def _first_output(model: torch.nn.Module, predict: Callable[[], None]) -> list[torch.Tensor]:
    """The tensors that the model's first call in a prediction gives."""
    found: list[list[torch.Tensor]] = []

    def look(module: Any, arguments: Any, output: Any) -> None:
        if not found:
            found.append([one.detach().clone() for one in _tensors(output)])

    handle = model.register_forward_hook(look)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # some models draw from noise
            predict()
    finally:
        handle.remove()
    return found[0] if found else []


def _tensors(output: Any) -> Iterator[torch.Tensor]:
    values = output.values() if isinstance(output, Mapping) else output
    for one in values if isinstance(values, Iterable) else ():
        if isinstance(one, torch.Tensor) and one.is_floating_point():
            yield one


def _equal(before: list[torch.Tensor], after: list[torch.Tensor]) -> bool:
    return [one.shape for one in before] == [one.shape for one in after] and all(
        _is_close(*pair) for pair in zip(before, after, strict=True)
    )


def _is_close(before: torch.Tensor, after: torch.Tensor) -> bool:
    if not before.isfinite().all():
        return True  # there is nothing to compare
    spread = before.float().std(correction=0).clamp(min=1e-6)
    gap = (before.float() - after.float()).abs().max()
    return bool(gap <= _TOLERANCE[before.dtype] * spread)
