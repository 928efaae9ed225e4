"""How far one result of a model is from another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch

_LEAST_SPREAD = 1e-6


def gap(one: Sequence[torch.Tensor], other: Sequence[torch.Tensor]) -> float:
    """The largest difference over the standard deviation of ``one``, of all their tensors; infinite
    where shapes differ, and nothing where ``one`` has no numbers to compare with."""
    if [tensor.shape for tensor in one] != [tensor.shape for tensor in other]:
        return float("inf")
    return max((_gap(*pair) for pair in zip(one, other, strict=True)), default=0.0)


def _gap(one: torch.Tensor, other: torch.Tensor) -> float:
    if not one.numel() or not one.isfinite().all():
        return 0.0
    spread = one.float().std(correction=0).clamp(min=_LEAST_SPREAD)
    found = float((one.float() - other.float()).abs().max() / spread)
    return found if found == found else float("inf")  # not a number: nothing is alike


def tensors_of(output: Any) -> Iterator[torch.Tensor]:
    """The tensors of numbers that a model's output has at its top."""
    values = output.values() if isinstance(output, Mapping) else output
    for one in values if isinstance(values, Iterable) else ():
        if isinstance(one, torch.Tensor) and one.is_floating_point():
            yield one
