"""Whether a model may be written with on the slab: it must give, in company, what it gives alone.

Not a list of names decides, but a comparison on the model itself.
"""

from __future__ import annotations

import logging
from typing import Any

import torch

from modeldeploy.worker.generation.slab import Slab, Unfit

log = logging.getLogger(__name__)

_STEPS = 4
_LENGTHS = (9, 3, 17)
_TOLERANCE = 0.2  # of the logits' standard deviation: bfloat16 in company moves it by 0.06


def fitting_slab(model: Any) -> Slab | None:
    """A fresh slab for ``model``, or None where rows on it would not be what they are alone."""
    try:
        with torch.inference_mode():
            gap = _gap(model)
    except Exception as error:  # whatever an exotic model raises: it has another way
        log.info("no running batch for this model: %s: %s", type(error).__name__, error)
        return None
    if not gap < _TOLERANCE:
        log.info("no running batch for this model: company moves its logits by %.2f", gap)
        return None
    return Slab(model)


def _gap(model: Any) -> float:
    """The largest difference of one row's logits between company and solitude, over their
    standard deviation.

    Raises:
        Unfit: the model's cache cannot be kept on a slab.
    """
    size = int(model.config.get_text_config().vocab_size)
    if size < max(_LENGTHS):
        raise Unfit(f"a vocabulary of {size}")
    prompts = [[(7 * at + length) % size for at in range(length)] for length in _LENGTHS]
    forced = [(11 * step + 5) % size for step in range(_STEPS)]
    alone = _run(model, prompts[:1], forced)
    company = _run(model, prompts, forced)
    return float((alone - company).abs().max() / alone.std())


def _run(model: Any, prompts: list[list[int]], forced: list[int]) -> torch.Tensor:
    """The first row's logits after each of ``forced``, shape (steps, vocabulary). Prompts are read
    in two parts where they can be, and one row leaves on the way."""
    slab = Slab(model)
    for ids in prompts:
        cache = slab.empty()
        slab.read(cache, ids[:2], 0)
        slab.read(cache, ids[2:], 2)
        slab.join(cache, len(ids))
    found = []
    for step, token in enumerate(forced):
        if step == _STEPS // 2 and slab.count > 2:
            slab.leave(1)
        found.append(slab.step([token] * slab.count)[0].float())
    return torch.stack(found)
