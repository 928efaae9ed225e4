"""Whether a model may be written with on the slab: it must give, in company, what it gives alone.

Not a list of names decides, but a comparison on the model itself.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch

from modeldeploy.worker.generation.slab import Running, Slab, Unfit, fill
from modeldeploy.worker.tasks.tokens import matrix

log = logging.getLogger(__name__)

STEPS = 2  # that are timed
_STEPS = 4
_LENGTHS = (9, 3, 17)
_PARTS = (2, 12, 3)  # tokens of a prompt
_STATE = 4  # times its gap: a norm tells less than the largest difference
# Of the logits' standard deviation: bfloat16 in company moves it by 0.06, and the order of sums in float32
# by 1e-4.
_TOLERANCE = {torch.float32: 1e-3}
_IN_LESS = 0.2


def fitting_slab(model: Any) -> Slab | None:
    """A fresh slab for ``model``, or None where rows on it would not be what they are alone."""
    try:
        with torch.inference_mode():
            gap = _gap(model)
    except Exception as error:  # whatever an exotic model raises: it has another way
        log.info("no running batch for this model: %s: %s", type(error).__name__, error)
        return None
    if not gap < _allowed(model):
        log.info("no running batch for this model: company moves its logits by %.2f", gap)
        return None
    return Slab(model)


def reads_in_parts(model: Any) -> bool:
    """Whether a prompt may be read in parts on a slab: some mixers lose their convolution's state where
    a later part has more than one token."""
    try:
        with torch.inference_mode():
            gap = _gap_of_parts(model)
    except Exception as error:  # as above
        log.info("prompts are read whole: %s: %s", type(error).__name__, error)
        return False
    if not gap < _allowed(model):
        log.info("prompts are read whole: parts move what a model keeps of one by %.2g", gap)
        return False
    return True


def _allowed(model: Any) -> float:
    return _TOLERANCE.get(model.dtype, _IN_LESS)


def companions(model: Any, pad_id: int) -> Literal["any", "equal", "none"]:
    """Whose prompts may share a call of ``generate``: any, padded; those of one length; nobody's."""
    first, *others = _prompts(int(model.config.get_text_config().vocab_size))
    try:
        with torch.inference_mode():
            alone = _generated(model, [first], pad_id)
            if _moves(alone, _generated(model, [first, *others], pad_id)) < _allowed(model):
                return "any"
            log.info("prompts of one length only: padding changes what the model writes")
            if _moves(alone, _generated(model, [first, first[::-1]], pad_id)) < _allowed(model):
                return "equal"
    except Exception as error:  # whatever an exotic model raises at prompts that are no text
        log.info("prompts of one length only: %s: %s", type(error).__name__, error)
        return "equal"
    return "none"


def _generated(model: Any, prompts: list[list[int]], pad_id: int) -> torch.Tensor:
    """The first prompt's logits at some places, shape (steps, vocabulary)."""
    found = model.generate(
        input_ids=matrix(prompts, pad_id, left=True).to(model.device),
        attention_mask=matrix([[1] * len(one) for one in prompts], 0, left=True).to(model.device),
        do_sample=False,
        num_beams=1,
        max_new_tokens=_STEPS // 2,
        pad_token_id=pad_id,
        eos_token_id=None,
        output_logits=True,
        return_dict_in_generate=True,
    )
    return torch.stack([step[0] for step in found.logits]).float()


def _moves(alone: torch.Tensor, company: torch.Tensor) -> float:
    return float((alone - company).abs().max() / alone.std())


def _prompts(size: int) -> list[list[int]]:
    return [[(7 * at + length) % size for at in range(length)] for length in _LENGTHS]


def _gap(model: Any) -> float:
    """The largest difference of one row's logits between company and solitude, over their
    standard deviation.

    Raises:
        Unfit: the model's cache cannot be kept on a slab.
    """
    size = _vocabulary(model)
    alone, company = (
        _run(Slab(model), size, count, in_parts=False) for count in (1, len(_LENGTHS))
    )
    return _moves(*(torch.stack([rows[0] for rows in found]) for found in (alone, company)))


def _gap_of_parts(model: Any) -> float:
    """How far a prompt's logits, over their standard deviation, or its recurrent states, over their norm,
    are from those of the prompt read in one call."""
    size, slab = _vocabulary(model), Slab(model)
    ids = [(7 * at + 1) % size for at in range(sum(_PARTS))]
    whole, parts = slab.empty(), slab.empty()
    one, done = slab.read(whole, ids, 0), 0
    for count in _PARTS:
        other = slab.read(parts, ids[done : done + count], done)
        done += count
    gaps = [_moves(one.float(), other.float())]
    for mine, its in zip(_states(whole), _states(parts), strict=True):
        gaps.append(_STATE * float((mine - its).norm() / mine.norm().clamp(min=1e-9)))
    return max(gaps)


def _states(cache: Any) -> list[torch.Tensor]:
    return [
        state.float()
        for layer in cache.layers
        for name in ("conv_states", "recurrent_states")
        for state in getattr(layer, name, {}).values()
        if state is not None
    ]


def distance(model: Any, one: Running, other: Running) -> float:
    """The largest difference of logits that fresh ``other`` gives from those of ``one``, over the
    standard deviation of these."""
    size = _vocabulary(model)
    return _moves(
        *(torch.cat(_run(slab, size, len(_LENGTHS), in_parts=True)) for slab in (one, other))
    )


def _vocabulary(model: Any) -> int:
    size = int(model.config.get_text_config().vocab_size)
    if size < max(_LENGTHS):
        raise Unfit(f"a vocabulary of {size}")
    return size


def _run(slab: Running, size: int, count: int, *, in_parts: bool) -> list[torch.Tensor]:
    """The logits after each of some tokens, of at first ``count`` rows, each (rows, vocabulary).
    Prompts are read in two parts where they may be, and one row leaves on the way."""
    forced = [(11 * step + 5) % size for step in range(_STEPS)]
    for ids in _prompts(size)[:count]:
        cache = slab.empty()
        first = 2 if in_parts else len(ids)
        slab.read(cache, ids[:first], 0)
        if ids[first:]:
            slab.read(cache, ids[first:], first)
        slab.join(cache, len(ids))
    found = []
    for step, token in enumerate(forced):
        if step == _STEPS // 2 and slab.count > 2:
            slab.leave(1)
        found.append(slab.step([token] * slab.count).float())
    return found


def within(window: int | None, lengths: Iterable[int]) -> list[int]:
    """Lengths of texts that are timed, as far as a model takes them that sees so many tokens."""
    most = (window or sys.maxsize) - 1 - STEPS
    return sorted({max(1, min(length, most)) for length in lengths})


def seconds(made: Callable[[], Running], rows: int, length: int) -> float:
    """That a step of so many rows takes, behind the first. Nobody waits while their prompts are
    read: one token's keys and values stand for all."""
    slab = made()
    with torch.inference_mode():
        cache = slab.empty()
        slab.read(cache, [1], 0)
        for layer in cache.layers:
            whole = (one.expand(-1, -1, length, -1) for one in (layer.keys, layer.values))
            fill(layer, *whole)
        for _ in range(rows):
            slab.join(cache, length)
        slab.step([1] * rows).tolist()
        begun = time.perf_counter()
        for _ in range(STEPS):
            slab.step([1] * rows).argmax(1).tolist()  # a GPU is done when it has told
        return (time.perf_counter() - begun) / STEPS
