"""A batcher around a model that tells what it was given, for stories of requests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from modeldeploy.schema.computing import Batching
from modeldeploy.worker.adapter import BatchLimits, Item
from modeldeploy.worker.batching.batcher import Batcher


class Model:
    """Answers each item's data; waits for ``gate``; fails where the data is an exception."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.gate = threading.Event()
        self.gate.set()

    def core(self, items: list[Item]) -> list[Any]:
        self.batches.append([item.data for item in items])
        self.gate.wait(10)
        for item in items:
            if isinstance(item.data, BaseException):
                raise item.data
        return [item.data for item in items]


def run(
    story: Callable[[Model, Batcher], Awaitable[None]],
    limits: BatchLimits = BatchLimits(),  # noqa: B008  # frozen
    max_queue: int = 100,
    **fixed: Any,
) -> Model:
    model = Model()

    async def tell() -> None:
        batcher = Batcher(model.core, limits, max_queue, batching=Batching(**fixed))
        try:
            await asyncio.wait_for(story(model, batcher), 20)
        finally:
            model.gate.set()
            batcher.close()

    asyncio.run(tell())
    return model


def items(*data: Any, size: int = 1, key: Any = None) -> list[Item]:
    return [Item(one, size, key) for one in data]


async def busy(model: Model, batcher: Batcher) -> asyncio.Future[Any]:
    """Keep the model busy with one item until its gate opens."""
    model.gate.clear()
    first = asyncio.ensure_future(batcher.run(items("first")))
    while not model.batches:
        await asyncio.sleep(0.001)
    return first


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.001)


async def asked_of(batcher: Batcher, *requests: list[Item]) -> list[asyncio.Future[Any]]:
    """Those requests, in that order, once all are queued or taken."""
    found: list[asyncio.Future[Any]] = []
    for one in requests:
        queued = asyncio.Event()
        run = batcher.run(one, lambda ticket, queued=queued: queued.set())  # type: ignore[misc]  # bound now
        found.append(asyncio.ensure_future(run))
        await queued.wait()
    return found
