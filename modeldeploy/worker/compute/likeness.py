"""How far one result of a model is from another."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from modeldeploy.schema.graph import Precision

EQUAL = 1e-4  # the largest gap of results that are the same
CLOSE = 0.1  # how far off a result in a lower precision may be
_LEAST_SPREAD = 1e-6
_MASKED = 5e3  # in size: where nothing is to be seen models put -10,000, or their dtype's least

Numbers = npt.NDArray[np.float32]


class Outcome(NamedTuple):
    """What a prediction came to: ``first`` is what the model's first call gave, ``raws`` what the
    task made of it, for each item."""

    first: list[torch.Tensor]
    raws: list[Any]


def difference(precision: Precision, ones: Sequence[Outcome], others: Sequence[Outcome]) -> float:
    """How far ``others``, made in that precision, are from ``ones``."""
    if precision == "float32":
        return max(gap(a.first, b.first) for a, b in zip(ones, others, strict=True))
    mine, theirs = ([raw for outcome in side for raw in outcome.raws] for side in (ones, others))
    return off(mine, theirs)


def allowed(precision: Precision) -> float:
    """The largest difference with which a graph is used."""
    return EQUAL if precision == "float32" else CLOSE


def gap(one: Sequence[torch.Tensor], other: Sequence[torch.Tensor]) -> float:
    """The largest difference over the standard deviation of ``one``, of all their tensors; infinite
    where shapes differ, and nothing where ``one`` has no numbers to compare with. What masks is
    compared, too, in its own size."""
    if [tensor.shape for tensor in one] != [tensor.shape for tensor in other]:
        return float("inf")
    return max((_gap(*pair) for pair in zip(one, other, strict=True)), default=0.0)


def _gap(one: torch.Tensor, other: torch.Tensor) -> float:
    mine, theirs = (side.float().numpy(force=True) for side in (one, other))
    return float(_far(mine, theirs, _spread([mine])).max(initial=0.0))


def _far(one: Numbers, other: Numbers, spread: float) -> Numbers:
    """How far each finite number of ``one`` is from the one in its place, in spreads, or what masks in
    its own size; infinite where either has what is not finite and the other has not the same there."""
    told = np.isfinite(one)
    if not (
        np.array_equal(told, np.isfinite(other))
        and np.array_equal(one[~told], other[~told], equal_nan=True)
    ):
        return np.array([np.inf], np.float32)
    one, other = one[told], other[told]
    size = np.abs(one)
    with np.errstate(over="ignore"):
        found: Numbers = np.abs(one - other) / np.where(size < _MASKED, np.float32(spread), size)
    return found


def tensors_of(output: Any) -> Iterator[torch.Tensor]:
    """The tensors of numbers that a model's output has at its top."""
    values = output.values() if isinstance(output, Mapping) else output
    for one in values if isinstance(values, Iterable) else ():
        if isinstance(one, torch.Tensor) and one.is_floating_point():
            yield one


def off(one: Sequence[Any], other: Sequence[Any]) -> float:
    """How far off the worst of the results ``other`` is from the one in its place: the root mean
    square of the differences over the spread of all of ``one``. Vectors that are off by d have a
    cosine of 1 - d²/2. Infinite where the two cannot be compared."""
    mine, theirs = ([list(_numbers(raw)) for raw in raws] for raws in (one, other))
    if _shapes(mine) != _shapes(theirs) or not mine or not all(mine):
        return float("inf")
    worst = [0.0]
    for kind in range(max(map(len, mine))):  # such as starts and ends of answers
        rows = [(a[kind], b[kind]) for a, b in zip(mine, theirs, strict=True) if len(a) > kind]
        spread = _spread([a for a, _ in rows])
        worst += [_mean(_far(a, b, spread), _ordinary(a).size) for a, b in rows]
    return max(worst)


def _mean(distances: Numbers, count: int) -> float:
    """The root of their mean square, if there are so many: those of what masks only add."""
    return float(np.linalg.norm(distances)) / math.sqrt(max(1, count))


def _ordinary(array: Numbers) -> Numbers:
    """Its numbers, but for what is not finite or masks."""
    found: Numbers = array[np.abs(array) < _MASKED]
    return found


def _spread(arrays: Sequence[Numbers]) -> float:
    """The standard deviation of what is ordinary; a single number, such as a lone score, has its size,
    and at least 1."""
    together = np.concatenate([_ordinary(one) for one in arrays])
    if together.size < 2:  # one has no spread
        return max([1.0, *(abs(float(one)) for one in together)])
    return max(float(together.std()), _LEAST_SPREAD)


def _shapes(rows: list[list[Numbers]]) -> list[list[tuple[int, ...]]]:
    return [[one.shape for one in row] for row in rows]


def _numbers(raw: Any) -> Iterator[Numbers]:
    """The arrays of numbers that are somewhere in a task's raw output."""
    if isinstance(raw, torch.Tensor):
        raw = raw.numpy(force=True)
    if isinstance(raw, np.ndarray):
        if raw.dtype.kind == "f":
            yield raw.astype(np.float32)
        return
    if dataclasses.is_dataclass(raw):
        raw = vars(raw)
    if isinstance(raw, Mapping):
        raw = raw.values()
    elif not isinstance(raw, list | tuple):
        return
    for one in raw:
        yield from _numbers(one)
