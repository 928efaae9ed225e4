"""What deployments that write may still take, as the supervisor sums it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from modeldeploy.schema.worker import HOST, Reserved
from modeldeploy.supervisor.reserves import reserved


def actor(
    task: str,
    still: dict[str, int] | None = None,
    *,
    device: str = "auto",
    ended: bool = False,
    loading: bool = False,
) -> Any:
    report = None if still is None else SimpleNamespace(reserved=still)
    worker = SimpleNamespace(report=report, seen=SimpleNamespace(ended=ended))
    record = SimpleNamespace(model=SimpleNamespace(task=task), spec=SimpleNamespace(device=device))
    return SimpleNamespace(worker=worker, record=record, is_loading=loading)


WRITES, READS = "text-generation", "text-classification"


@pytest.mark.parametrize(
    ("actors", "sum_"),
    [
        ([], Reserved()),
        ([actor(READS, {})], Reserved()),
        ([actor(WRITES, {HOST: 5}, ended=True)], Reserved()),
        ([actor(WRITES)], Reserved()),
        (
            [actor(WRITES, {HOST: 5}), actor(WRITES, {"gpu-x": 7}), actor(WRITES, {HOST: 2})],
            Reserved(bytes={HOST: 7, "gpu-x": 7}, writers=2),
        ),
        (
            [
                actor(WRITES, {HOST: 5}),
                actor(WRITES, loading=True),
                actor(WRITES, loading=True, device="cuda:1"),
                actor("image-text-to-text", loading=True),
                actor(READS, loading=True),
            ],
            Reserved(bytes={HOST: 5}, writers=2, loading=1),
        ),
    ],
)
def test_it_is_the_sum_over_those_that_live(actors: list[Any], sum_: Reserved) -> None:
    assert reserved(actors) == sum_


def test_a_deployment_without_a_model_yet_is_not_counted() -> None:
    new = actor(WRITES, loading=True)
    new.record.model = None
    assert reserved([new]) == Reserved()
