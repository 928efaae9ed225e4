"""How fast linear layers are as a forward calls them: one after the other, their weights out of memory.
Called again and again, one layer's weights come from a cache, and what another layout saves in fetching
them is not seen.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import Linear

Forward = Callable[[torch.Tensor], Any]

_SAMPLE = 48 * 1024**2  # bytes of weights that are timed: more than caches hold
_ROUNDS = 3
_SURE = 0.35  # of a gain's logarithm: so far from the bar as many turns again would say the same


def sample(layers: Sequence[Linear]) -> list[Linear]:
    """The first ones, and one of each size."""
    found, sizes, left = [], set(), _SAMPLE
    for layer in layers:
        size = (layer.in_features, layer.out_features)
        if left > 0 or size not in sizes:
            found.append(layer)
            sizes.add(size)
            left -= size[0] * size[1] * layer.weight.itemsize
    return found


def exceeds(
    layers: Sequence[Linear],
    before: Sequence[Forward],
    after: Sequence[Forward],
    rows: Sequence[int],
    bar: float,
) -> bool:
    """Whether the product of how many times faster ``after`` computes what ``layers`` do, in calls of so
    many ``rows`` each, is more than ``bar``. The two take turns, the median of what the turns say
    counts, and near the bar they take as many again, so that what disturbs decides seldom."""
    sizes = [
        [torch.ones(count, one.in_features, dtype=one.weight.dtype) for one in layers]
        for count in rows
    ]
    turns: list[list[float]] = [[] for _ in rows]
    for _ in range(2):
        for given, found in zip(sizes, turns, strict=True):
            found += [seconds(before, given) / seconds(after, given) for _ in range(_ROUNDS)]
        far = math.log(math.prod(map(statistics.median, turns)) / bar)
        if abs(far) > _SURE:
            break
    return far > 0


def seconds(forwards: Sequence[Forward], given: Sequence[torch.Tensor]) -> float:
    """Of calling each once."""
    begun = time.perf_counter()
    for forward, one in zip(forwards, given, strict=True):
        forward(one)
    return time.perf_counter() - begun
