"""Whether layers such as a model's pay in another layout: found once for sizes, threads, versions and CPU."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch.nn import Linear

from modeldeploy import __version__
from modeldeploy.worker import cpu, notes


class Verdicts:
    """Kept in a folder; without one, each is found anew."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def on(
        self,
        question: str,
        layers: Sequence[Linear],
        rows: Sequence[int],
        find: Callable[[], bool],
    ) -> bool:
        """What was found before of such layers in calls of so many ``rows``, or is now."""
        if self._folder is None:
            return find()
        file = self._folder / f"layers-{_name(question, layers, rows)}.json"
        known = notes.read(file, bool)
        if known is None:
            known = find()
            notes.write(file, known)
        return known


def _name(question: str, layers: Sequence[Linear], rows: Sequence[int]) -> str:
    sizes = [(one.in_features, one.out_features, str(one.weight.dtype)) for one in layers]
    about = (question, sizes, list(rows), torch.get_num_threads())
    made = (__version__, torch.__version__, cpu.described())
    return hashlib.sha256(repr((about, made)).encode()).hexdigest()[:32]
