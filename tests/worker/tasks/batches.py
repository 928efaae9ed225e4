"""Several inputs through as few calls of the model as their keys allow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modeldeploy.worker.adapter import Adapter, Item


def predict_together(
    adapter: Adapter[Any, Any], inputs: Sequence[Any], how: Any
) -> tuple[list[Any], list[int]]:
    """The result for each input, and how many items each call of ``core`` had."""
    made = [adapter.pre(one, how) for one in inputs]
    batches: dict[Any, list[Item]] = {}
    for item in (item for items in made for item in items):
        batches.setdefault(item.key, []).append(item)
    raws = {
        id(item): raw
        for batch in batches.values()
        for item, raw in zip(batch, adapter.core(batch), strict=True)
    }
    results = [
        adapter.post([raws[id(item)] for item in items], one, how)
        for items, one in zip(made, inputs, strict=True)
    ]
    return results, sorted(map(len, batches.values()))
