"""All deployments, told to whoever follows them: the gateway above all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Hashable

from modeldeploy.schema.control import Fleet
from modeldeploy.schema.deployment import Deployment

_PAUSE = 0.5
_HEARTBEAT_SECONDS = 5.0


class Watch:
    """``views`` are looked at again at each :meth:`tell`. What a request is routed by is told at once,
    everything else (progress, memory, counts) at most twice a second."""

    def __init__(self, views: Callable[[], list[Deployment]]) -> None:
        self._views = views
        self._changed = asyncio.Event()
        self._closed = False

    def tell(self) -> None:
        """Something has changed."""
        self._changed.set()
        self._changed = asyncio.Event()

    def close(self) -> None:
        """Followers end."""
        self._closed = True
        self.tell()

    async def follow(self) -> AsyncIterator[Fleet]:
        loop = asyncio.get_running_loop()
        told: Hashable = None
        due = 0.0
        while not self._closed:
            changed, views = self._changed, self._views()
            routed_by = tuple((v.name, v.state, v.desired, v.port) for v in views)
            if routed_by != told or loop.time() >= due:
                told, due = routed_by, loop.time() + _PAUSE
                yield Fleet(deployments=views)
                await _either(changed, _HEARTBEAT_SECONDS)
            else:
                await _either(changed, due - loop.time())


async def _either(changed: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(changed.wait(), seconds)
