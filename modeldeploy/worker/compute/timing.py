"""How fast linear layers are as a forward calls them: one after the other, their weights out of memory.
Called again and again, one layer's weights come from a cache, and what another layout saves in fetching
them is not seen.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch.nn import Linear

Forward = Callable[[torch.Tensor], Any]

_SAMPLE = 48 * 1024**2  # bytes of weights that are timed: more than caches hold


class Size(NamedTuple):
    """What layers that take equally long have in common."""

    inputs: int
    outputs: int
    bare: bool
    dtype: torch.dtype

    @classmethod
    def of(cls, layer: Linear) -> Size:
        return cls(layer.in_features, layer.out_features, layer.bias is None, layer.weight.dtype)


def sample(layers: Sequence[Linear]) -> list[Linear]:
    """The first ones, and one of each size."""
    found, sizes, left = [], set(), _SAMPLE
    for layer in layers:
        if left > 0 or Size.of(layer) not in sizes:
            found.append(layer)
            sizes.add(Size.of(layer))
            left -= layer.in_features * layer.out_features * layer.weight.itemsize
    return found


def least(layers: Sequence[tuple[Size, Forward]], rows: int, best: dict[Size, float]) -> None:
    """Call each once with so many rows; ``best`` keeps the least seconds that those of a size took
    together, because whatever disturbs makes it slower."""
    taken: dict[Size, float] = defaultdict(float)
    for size, layer in layers:
        given = torch.ones(rows, size.inputs, dtype=size.dtype)
        taken[size] += seconds(layer, given)
    for size, one in taken.items():
        best[size] = min(one, best.get(size, one))


def seconds(forward: Forward, given: torch.Tensor) -> float:
    begun = time.perf_counter()
    forward(given)
    return time.perf_counter() - begun
