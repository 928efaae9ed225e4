"""Writing on int8 weights, where it is faster and the model would say nearly the same."""

from __future__ import annotations

from typing import Any

import torch

from modeldeploy.worker.compute import int8

_ROWS = (1, 2, 4, 8, 16)  # texts that are written together
MOST = 0.02  # nats from the model's own predictions, a token's mean: bfloat16 makes 0.002
# What the predictions are compared on.
TEXT = (
    "The harbour was quiet in the early morning. A fisherman mended his nets, and two children asked "
    "him how far the lighthouse was. About three miles, he said, but the tide will turn at ten, so if "
    "you want to be back for lunch you should leave now, and take some water with you."
)


def round_weights(model: Any, ids: list[int]) -> str:
    """Write on int8 weights from now on, if that is worth it; what came of it, in words. ``ids`` are
    the tokens of a text."""
    before = _predictions(model, ids)
    most = int8.round_weights(model, _ROWS)
    if not most:
        return "as before: on int8 weights this CPU is not faster"
    with int8.always(model):
        after = _predictions(model, ids)
    nats, same = _divergence(before, after)
    told = (
        f"{nats:.1g} nats a token from the model's own predictions, {same:.0%} of likeliest tokens"
    )
    if not nats <= MOST:
        int8.restore(model)
        return f"as before: int8 weights would be {told} the same; {MOST} nats are allowed"
    return f"int8 weights where at most {most} texts are written together: {told} the same"


def nats(before: torch.Tensor, after: torch.Tensor) -> float:
    """How far logits are from those before, each (tokens, vocabulary)."""
    return _divergence(before.float().log_softmax(-1), after.float().log_softmax(-1))[0]


def _predictions(model: Any, ids: list[int]) -> torch.Tensor:
    """Log probabilities of the next token, shape (tokens, vocabulary)."""
    with torch.inference_mode():
        logits: torch.Tensor = model(torch.tensor([ids]), use_cache=False).logits
        return logits[0].float().log_softmax(-1)


def _divergence(before: torch.Tensor, after: torch.Tensor) -> tuple[float, float]:
    """The mean Kullback-Leibler divergence, and the share of places with the same likeliest token."""
    nats = (before.exp() * (before - after)).sum(-1).mean()
    same = (before.argmax(-1) == after.argmax(-1)).float().mean()
    return float(nats), float(same)
