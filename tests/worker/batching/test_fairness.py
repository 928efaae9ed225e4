"""A short text among long ones waits no longer than three times what all wait on average, nor, but for
when all come at once, than two calls take, however many texts others have. The time is what the model has computed, so it is the
same on every machine."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Any

import pytest

from modeldeploy.worker.adapter import BatchLimits, Item
from modeldeploy.worker.batching.batcher import Batcher

SHORT, LONG, OTHERS, ROUNDS = 3, 110, 7, 50
BOUND = 3.0
ENOUGH = 10**6  # tokens: the one who is still not answered waits in vain


class Model:
    """``computed`` are the tokens of all its calls, padding too."""

    def __init__(self, padded: bool) -> None:
        self._padded = padded
        self.computed = 0

    def core(self, items: list[Item]) -> list[Any]:
        sizes = [item.size for item in items]
        self.computed += max(sizes) * len(sizes) if self._padded else sum(sizes)
        return sizes


class Clients:
    """One with a short text among others with so many long ones each: each asks again when it is
    answered, until the one has been ``ROUNDS`` times."""

    def __init__(self, model: Model, batcher: Batcher, texts: int) -> None:
        self._model, self._batcher, self._texts = model, batcher, texts
        self._count = 1 + OTHERS
        self.waits: dict[int, list[int]] = {SHORT: [], LONG: []}

    async def run(self) -> None:
        self._batcher.between(self._gather)
        others = [self._ask(LONG, self._texts) for _ in range(OTHERS)]
        await asyncio.wait_for(asyncio.gather(*others, self._ask(SHORT, 1)), 20)

    async def _ask(self, size: int, texts: int) -> None:
        while len(self.waits[SHORT]) < ROUNDS and self._model.computed < ENOUGH:
            before = self._model.computed
            await self._batcher.run([Item(None, size) for _ in range(texts)])
            self.waits[size].append(self._model.computed - before)
        self._count -= 1

    def _gather(self) -> None:
        """Between two calls: the next is made when all who are answered have asked again."""
        while self._batcher.depth < self._count:
            time.sleep(0.0005)
        if self._count:
            self._batcher.between(self._gather)


def waits(limits: BatchLimits, texts: int) -> dict[int, list[int]]:
    async def tell() -> dict[int, list[int]]:
        model = Model(limits.padded)
        batcher = Batcher(model.core, limits, 100)
        try:
            clients = Clients(model, batcher, texts)
            await clients.run()
            return clients.waits
        finally:
            batcher.close()

    return asyncio.run(tell())


@pytest.mark.parametrize("texts", [1, 20])
@pytest.mark.parametrize("size", [64, 256, 2048])
@pytest.mark.parametrize("how", [{}, {"padded": False}, {"equal": True}, {"items": 1}], ids=str)
def test_a_short_text_waits_no_longer_than_three_times_its_share(
    how: dict[str, Any], size: int, texts: int
) -> None:
    found = waits(BatchLimits(size=size, unit="tokens", **how), texts)
    call = LONG if how.get("items") == 1 else max(LONG, size)
    if texts * LONG > 4 * call:  # else all have their turns one after the other
        assert statistics.median(found[SHORT]) <= 2 * call
    assert max(found[SHORT]) <= 4 / 3 * (OTHERS + 1) * call
    assert max(found[SHORT]) <= BOUND * statistics.mean(found[SHORT] + found[LONG])
