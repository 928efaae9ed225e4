"""All deployments, told to whoever follows them: the gateway above all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from modeldeploy.schema.control import Fleet
from modeldeploy.schema.deployment import Deployment

_PAUSE = 0.5
_HEARTBEAT_SECONDS = 5.0


class Watch:
    """``views`` are looked at whenever there is something to tell."""

    def __init__(self, views: Callable[[], list[Deployment]]) -> None:
        self._views = views
        self._changes = 0
        self._moved = asyncio.Event()
        self._closed = False

    def tell_soon(self) -> None:
        """Something has changed that can wait: progress, memory, counts."""
        self._changes += 1

    def tell_now(self) -> None:
        """Something has changed that requests are routed by."""
        self._moved.set()
        self._moved = asyncio.Event()

    def close(self) -> None:
        """Followers end."""
        self._closed = True
        self.tell_now()

    async def follow(self) -> AsyncIterator[Fleet]:
        """All of them, at once, at each change and now and then."""
        loop = asyncio.get_running_loop()
        while not self._closed:
            moved, seen, due = self._moved, self._changes, loop.time() + _HEARTBEAT_SECONDS
            yield Fleet(deployments=self._views())
            quiet = True
            while quiet:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(moved.wait(), _PAUSE)
                quiet = not moved.is_set() and self._changes == seen and loop.time() < due
