"""What one call's choice costs, however many wait, and whom it leaves out."""

from __future__ import annotations

import asyncio
import threading
from types import FrameType
from typing import Any

import pytest

from modeldeploy.worker.adapter import BatchLimits, Item
from modeldeploy.worker.batching import picking
from modeldeploy.worker.batching.batcher import Batcher
from tests.worker.batching.stories import Model, asked_of, busy, items, run


def singles(count: int) -> list[list[Item]]:
    return [items(n, size=n % 5 + 1) for n in range(count)]


def one_list(count: int) -> list[list[Item]]:
    return [[Item(n, n + 1) for n in range(count)]]


def steps_for(*requests: list[Item], **limits: Any) -> int:
    """How many of Python's own steps the thread that computes takes until all of them, who waited
    together, are answered."""
    steps = 0

    def count(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal steps
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        steps += 1
        return count

    async def story(model: Model, batcher: Batcher) -> None:
        first = await busy(model, batcher)
        asked = await asked_of(batcher, *requests)
        model.gate.set()
        await asyncio.gather(first, *asked)

    before = threading.gettrace()
    threading.settrace(count)
    try:
        run(story, BatchLimits(items=8, size=10**6, **limits), max_queue=10**6)
    finally:
        threading.settrace(before)
    return steps


@pytest.mark.parametrize("asked", [singles, one_list])
@pytest.mark.parametrize("limits", [{}, {"padded": False}, {"equal": True}])
def test_a_request_costs_no_more_where_many_wait(
    asked: Any, limits: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picking, "_REACH", 100)
    monkeypatch.setattr(picking, "_LOOK_AHEAD", 50)
    few, many = (steps_for(*asked(count), **limits) / count for count in (300, 1500))
    assert many < 1.5 * few


def test_who_is_out_of_reach_is_served_in_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picking, "_REACH", 3)

    async def story(model: Model, batcher: Batcher) -> None:
        first = await busy(model, batcher)
        asked = await asked_of(batcher, *(items(n, key=n % 4 or None) for n in range(8)))
        model.gate.set()
        await asyncio.gather(first, *asked)

    batches = run(story, BatchLimits(items=2)).batches
    assert batches[1:] == [[0], [1], [2], [3], [4], [5], [6], [7]]


@pytest.mark.parametrize("padded", [True, False])
def test_a_call_that_may_have_thousands_of_inputs_has_them(padded: bool) -> None:
    async def story(model: Model, batcher: Batcher) -> None:
        first = await busy(model, batcher)
        (asked,) = await asked_of(batcher, items(*range(5000)))
        model.gate.set()
        await asyncio.gather(first, asked)

    batches = run(story, BatchLimits(items=8, size=8, padded=padded), max_size=4096).batches
    assert [len(one) for one in batches] == [1, 4096, 904]
