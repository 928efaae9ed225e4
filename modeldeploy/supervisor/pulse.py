"""Whether a child's loop goes round: a pipe that it writes a byte to each second.

A process that is stopped or stuck lives, and its port takes connections; only its silence tells.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

_LOOK_SECONDS = 0.5
_MANY = 4096


class Pulse:
    """``theirs`` is for the child to inherit; ``clock`` is the supervisor's."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ours, self.theirs = os.pipe()
        os.set_blocking(self._ours, False)
        os.set_blocking(self.theirs, False)

    def close(self) -> None:
        os.close(self._ours)
        os.close(self.theirs)

    async def stops(self, first: float, patience: float) -> None:
        """Returns when nothing has come for ``patience`` seconds, or for ``first`` since the start.

        What came is looked at before the clock is: a supervisor that was itself stopped finds what
        was written meanwhile.
        """
        heard, allowed = self._clock(), first
        while True:
            if self._came():
                heard, allowed = self._clock(), patience
            elif self._clock() - heard >= allowed:
                return
            await asyncio.sleep(_LOOK_SECONDS)

    def _came(self) -> bool:
        try:
            return bool(os.read(self._ours, _MANY))
        except BlockingIOError:
            return False
