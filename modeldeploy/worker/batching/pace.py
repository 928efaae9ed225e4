"""How fast requests are served while there are any."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Hashable

_REMEMBERED = 64


class Pace:
    """Seconds of work between the latest requests' ends; time without a request does not count.
    Not thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._here: set[Hashable] = set()
        self._since = 0.0  # the last end, or the first arrival after idleness
        self._awake = 0.0  # that first arrival
        self._busy = 0.0  # seconds until the last idleness
        self._gaps: deque[float] = deque(maxlen=_REMEMBERED)

    def came(self, request: Hashable) -> None:
        if not self._here:
            self._since = self._awake = self._clock()
        self._here.add(request)

    def left(self, request: Hashable, *, served: bool) -> None:
        """It is over; what one that was given up has cost is the next one's. Once is enough."""
        if request not in self._here:
            return
        self._here.remove(request)
        now = self._clock()
        if not self._here:
            self._busy += now - self._awake
        if served:
            self._gaps.append(now - self._since)
            self._since = now

    @property
    def busy_seconds(self) -> float:
        """For how long, in all, there was a request."""
        return self._busy + (self._clock() - self._awake if self._here else 0.0)

    @property
    def seconds(self) -> float:
        """A request's share of the time; before the first has ended, what that one took so far."""
        if self._gaps:
            return sum(self._gaps) / len(self._gaps)
        return self._clock() - self._since if self._here else 0.0
