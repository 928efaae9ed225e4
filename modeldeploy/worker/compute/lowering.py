"""A loaded model's weights in bfloat16, where the CPU computes that natively and results are close."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch

from modeldeploy.errors import ModelDeployError
from modeldeploy.worker.compute.likeness import CLOSE, off

log = logging.getLogger(__name__)


def lower(model: torch.nn.Module, predict: Callable[[], list[Any]]) -> str:
    """Lower the weights, unless a prediction made again is then too far off; the outcome in words.
    What a model keeps in float32 beside its weights (angles, sums) it keeps."""
    before = predict()
    weights = [one for one in model.parameters() if one.dtype is torch.float32]
    kept = [one.data for one in weights]
    for one in weights:
        one.data = one.data.to(torch.bfloat16)
    try:
        found = off(before, predict())
        refused = f"results would be off by {found:.2g} of their spread" if found > CLOSE else ""
    except ModelDeployError as error:
        refused = f"the model fails in it: {error.message}"
    if refused:
        for one, data in zip(weights, kept, strict=True):
            one.data = data
        log.warning("the model stays in float32: in bfloat16 %s", refused)
        return f"float32: in bfloat16 {refused}"
    return f"bfloat16, results off by {found:.2g} of float32's spread on the example"
