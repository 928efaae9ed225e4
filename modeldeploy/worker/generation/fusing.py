"""What transformers computes in many operators, traced as the few that ONNX Runtime has for it.

A norm by root mean square is six operators and a rotation of queries and keys twelve; of a small model's
step they are nine of ten, and each costs its ten microseconds. Neither is known by a list of names: what
is taken for one must give, on random numbers, what it is taken for.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

_ROTATION = "com.microsoft::RotaryEmbedding"
_NAME = "apply_rotary_pos_emb"  # transformers' own, in the module of each model that rotates
_EQUAL = 1e-5


@contextlib.contextmanager
def fused(model: Any) -> Iterator[None]:
    """While a model in float32 on a CPU is traced."""
    norms = [(one, short) for one in model.modules() if (short := _as_a_norm(one))]
    homes = {type(one).__module__ for one in model.modules()}
    found = [sys.modules[name] for name in homes if hasattr(sys.modules[name], _NAME)]
    rotations = [(home, getattr(home, _NAME)) for home in found if _rotates(getattr(home, _NAME))]
    try:
        for norm, short in norms:
            norm.forward = short
        for home, own in rotations:
            setattr(home, _NAME, partial(_rotated, own))
        yield
    finally:
        for norm, _ in norms:
            del norm.forward
        for home, own in rotations:
            setattr(home, _NAME, own)


# Norms


@torch.no_grad()
def _as_a_norm(module: Any) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """A ``forward`` that gives the same, if the module is a norm by root mean square."""
    weight = getattr(module, "weight", None)
    epsilon = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    if not (isinstance(weight, torch.nn.Parameter) and isinstance(epsilon, float)):
        return None
    if weight.dim() != 1 or "forward" in vars(module):  # something stands before it
        return None
    given = torch.randn(2, 3, len(weight), generator=torch.Generator().manual_seed(0))
    try:
        own = module(given)
    except Exception:  # it wants something else
        return None
    for factor in (weight.data, 1.0 + weight.data):  # Gemma's is the second
        short = partial(_normed, factor, epsilon)
        if _is_same(own, short(given)):
            return short
    return None


def _normed(weight: torch.Tensor, epsilon: float, hidden_states: torch.Tensor) -> torch.Tensor:
    """In the operators by which ONNX Runtime's optimiser knows a norm."""
    mean = hidden_states.pow(2).mean(-1, keepdim=True)
    return hidden_states / torch.sqrt(mean + epsilon) * weight


# Rotations


@torch.no_grad()
def _rotates(function: Callable[..., Any]) -> bool:
    """Whether it turns the first half of each head against the second."""
    dice = torch.Generator().manual_seed(0)
    query, key = (torch.randn(2, heads, 3, 8, generator=dice) for heads in (4, 2))
    angle = torch.randn(2, 3, 4, generator=dice).repeat(1, 1, 2)
    cos, sin = angle.cos(), angle.sin()
    try:
        own = function(query, key, cos, sin)
    except Exception:  # it wants something else
        return False
    return all(
        _is_same(one, given * cos[:, None] + _turned(given) * sin[:, None])
        for one, given in zip(own, (query, key), strict=True)
    )


def _turned(given: torch.Tensor) -> torch.Tensor:
    first, second = given.chunk(2, dim=-1)
    return torch.cat([-second, first], dim=-1)


def _rotated(
    own: Callable[..., Any],
    q: torch.Tensor,
    k: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """Queries and keys, each (rows, heads, tokens, width), with ``cos`` and ``sin`` of (rows, tokens,
    width); any other call is ``own``'s."""
    if args or kwargs or not q.shape[-1] == k.shape[-1] == cos.shape[-1]:
        return own(q, k, cos, sin, *args, **kwargs)
    rows, count, width = cos.shape
    places = torch.arange(rows * count).reshape(rows, count)
    halves = [one[..., : width // 2].reshape(-1, width // 2) for one in (cos, sin)]
    found = []
    for one in (q, k):
        # Heads side by side, as they come and as they are attended with: transposes come in pairs, and go.
        heads = one.shape[1]
        flat = one.transpose(1, 2).reshape(rows, count, heads * width)
        turned = torch.onnx.ops.symbolic(
            _ROTATION,
            [flat, places, *halves],
            {"interleaved": 0},
            dtype=flat.dtype,
            shape=flat.shape,
            version=1,
        )
        found.append(turned.reshape(rows, count, heads, width).transpose(1, 2))
    return tuple(found)


def _is_same(one: Any, other: torch.Tensor) -> bool:
    return (
        isinstance(one, torch.Tensor)
        and one.shape == other.shape
        and bool((one - other).abs().max() <= _EQUAL)
    )
