"""What deployments that write may still take, as the supervisor sums it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from modeldeploy.schema.worker import Reserved
from modeldeploy.supervisor.reserves import reserved


def actor(
    task: str, device: str = "", still: int = 0, *, ended: bool = False, loading: bool = False
) -> Any:
    report = SimpleNamespace(device=device, reserved_bytes=still) if device else None
    worker = SimpleNamespace(report=report, seen=SimpleNamespace(ended=ended))
    record = SimpleNamespace(model=SimpleNamespace(task=task))
    return SimpleNamespace(worker=worker, record=record, is_loading=loading)


WRITES, READS = "text-generation", "text-classification"


@pytest.mark.parametrize(
    ("actors", "sum_"),
    [
        ([], Reserved()),
        ([actor(READS, "cpu")], Reserved()),
        ([actor(WRITES, "cpu", 5, ended=True)], Reserved()),
        ([actor(WRITES)], Reserved()),
        (
            [actor(WRITES, "cpu", 5), actor(WRITES, "cuda:0", 7), actor(WRITES, "cpu", 2)],
            Reserved(bytes={"cpu": 7, "cuda:0": 7}, writers=3),
        ),
        (
            [
                actor(WRITES, "cpu", 5),
                actor(WRITES, loading=True),
                actor("image-text-to-text", "cpu", loading=True),
                actor(READS, loading=True),
            ],
            Reserved(bytes={"cpu": 5}, writers=3, loading=2),
        ),
    ],
)
def test_it_is_the_sum_over_those_that_live(actors: list[Any], sum_: Reserved) -> None:
    assert reserved(actors) == sum_


def test_a_deployment_without_a_model_yet_is_not_counted() -> None:
    new: Any = SimpleNamespace(worker=None, record=SimpleNamespace(model=None), is_loading=True)
    assert reserved([new]) == Reserved()
