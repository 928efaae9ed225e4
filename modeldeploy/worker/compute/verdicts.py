"""What was measured of layers, kept for the next model with such."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import torch
from torch.nn import Linear

from modeldeploy import __version__
from modeldeploy.worker import cpu, notes

_CALM = 0.2  # of all cores' time, which others had meanwhile


def pays(
    folder: Path | None,
    layers: Sequence[Linear],
    rows: Sequence[int],
    find: Callable[[], bool | None],
) -> bool:
    """Whether packing such layers pays in calls of so many ``rows``: what was found before, or is now
    (None: it cannot be found out). That is kept where others left the machine to us meanwhile."""
    if folder is None:
        return bool(find())
    file = folder / f"layers-{_name(layers, rows)}.json"
    known = notes.read(file, bool)
    if known is not None:
        return known
    spent = _Spent()
    found = find()
    if found is not None and spent.by_others() <= _CALM:
        notes.write(file, found)
    return bool(found)


class _Spent:
    """Time of the processors since it was made."""

    def __init__(self) -> None:
        self._all, self._idle, self._ours = _times()

    def by_others(self) -> float:
        """Their part of all."""
        everything, idle, ours = _times()
        whole = everything - self._all
        others = whole - (idle - self._idle) - (ours - self._ours)
        return others / whole if whole else 0.0


def _times() -> tuple[float, float, float]:
    """Seconds of all cores, those that they had nothing to do, and those that we had."""
    system, own = psutil.cpu_times(), psutil.Process().cpu_times()
    idle = system.idle + getattr(system, "iowait", 0.0)
    guests = getattr(system, "guest", 0.0) + getattr(system, "guest_nice", 0.0)  # in user, too
    return sum(system) - guests, idle, own.user + own.system


def _name(layers: Sequence[Linear], rows: Sequence[int]) -> str:
    sizes = [(one.in_features, one.out_features, str(one.weight.dtype)) for one in layers]
    made = (__version__, torch.__version__, cpu.described(), torch.get_num_threads())
    return hashlib.sha256(repr((sizes, list(rows), made)).encode()).hexdigest()[:32]
