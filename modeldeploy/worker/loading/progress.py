"""Tensor-true progress from transformers' own bar, through its (process-wide) hook."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sized
from typing import Any

from transformers.utils import logging as transformers_logging


class _Bar:
    """Stands in for transformers' bar "Loading weights": counts tensors."""

    def __init__(self, rows: Any, total: int, progress: Callable[[int, int], None]) -> None:
        self._rows = rows
        self._total = total
        self._progress = progress
        self._done = 0

    def __iter__(self) -> Iterator[Any]:
        for row in self._rows:
            yield row
            self.update()

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *ended: object) -> None:
        pass

    def update(self, count: int = 1) -> None:
        self._done += count
        self._progress(min(self._done, self._total), self._total)

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **kwargs: None  # set_postfix, close, ...: nothing to draw


@contextlib.contextmanager
def tensor_progress(report: Callable[[int, int], None]) -> Iterator[None]:
    """While a model is loaded: ``report`` hears of tensors done and tensors in all."""

    def hook(factory: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        rows = args[0] if args else kwargs.get("iterable")
        total = kwargs.get("total") or (len(rows) if isinstance(rows, Sized) else 0)
        counts = kwargs.get("desc") == "Loading weights" and total
        return _Bar(rows, total, report if counts else lambda done, total: None)

    before = transformers_logging.set_tqdm_hook(hook)
    try:
        yield
    finally:
        transformers_logging.set_tqdm_hook(before)
