"""When a ``generate`` ends before its time."""

from __future__ import annotations

from typing import Any

import torch
from transformers import StoppingCriteria

from modeldeploy.worker.adapter import Dropped, Item


class Abandoned(StoppingCriteria):  # type: ignore[misc]  # transformers is not followed by mypy
    """Ends a ``generate`` when nobody wants any of its items any more."""

    def __init__(self, items: list[Item]) -> None:
        self._items = items

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        done = all(item.dropped for item in self._items)
        return torch.full((input_ids.shape[0],), done, device=input_ids.device)


class GivenUp(StoppingCriteria):  # type: ignore[misc]  # transformers is not followed by mypy
    """The same where ``generate`` is one of several steps, which cannot go on from half of one."""

    def __init__(self, items: list[Item]) -> None:
        self._items = items

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        if all(item.dropped for item in self._items):
            raise Dropped
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)
