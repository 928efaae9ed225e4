"""Time as the supervisor lives it, by which it waits for others.

The wall clock may be set, and a supervisor that was stopped (SIGSTOP, a paused container or virtual
machine, a lid that was closed) would find everybody out of time whose reports it has not read yet, or
who was stopped with it. So what it slept through does not count.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

_LOOK_SECONDS = 0.25
_MOST_SECONDS = 0.5  # that count between two looks


class Clock:
    """Called, it tells Unix seconds: the wall clock's when this was made, and from then on those in
    which :meth:`keep` ran, so that a later supervisor can read what is written down."""

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._monotonic = monotonic
        self._looked = monotonic()
        self._then = wall()

    def __call__(self) -> float:
        return self._at(self._monotonic())

    def _at(self, reading: float) -> float:
        return self._then + min(reading - self._looked, _MOST_SECONDS)

    def look(self) -> None:
        """Time goes on from here, whatever has passed since the last look."""
        reading = self._monotonic()
        self._then, self._looked = self._at(reading), reading

    async def keep(self) -> None:
        """Look for as long as the loop goes round."""
        while True:
            self.look()
            await asyncio.sleep(_LOOK_SECONDS)
