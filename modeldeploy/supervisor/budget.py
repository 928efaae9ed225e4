"""The machine's cores, shared over the workers that are busy.

Threads of two workers that want the same core wait for each other at every step of a model. So each
gets its share, and all cores again when it is the only one that computes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from modeldeploy.schema.threads import Threads

_WINDOW_SECONDS = 0.5  # the shortest time that a share of it is measured over
_BUSY_FROM = 0.2  # share of the time with a request
_IDLE_BELOW = 0.1
_HOLD_SECONDS = 3.0  # without work until it is not busy any more


def share(cores: int, asked: Mapping[str, int], busy: Collection[str], who: str) -> int:
    """Threads for ``who``: its part of the cores if it is busy, else what it would get if it were.

    ``asked`` names the workers whose number is their user's choice. It is theirs, and the others
    share what those of them that are busy leave.
    """
    if who in asked:
        return asked[who]
    left = cores - sum(asked[one] for one in busy if one in asked)
    sharing = sorted({*busy, who} - asked.keys())
    each, over = divmod(max(0, left), len(sharing))
    first = who in busy and sharing.index(who) < over
    return max(1, each + first)


@dataclass
class _Seen:
    """``since`` and ``begun_with`` begin the window that is being measured."""

    since: float
    begun_with: float
    heard: float
    busy_until: float = 0.0

    def take(self, now: float, busy_seconds: float) -> None:
        self.heard = now
        if now - self.since < _WINDOW_SECONDS:
            return
        part = (busy_seconds - self.begun_with) / (now - self.since)
        if part >= (_IDLE_BELOW if now < self.busy_until else _BUSY_FROM):
            self.busy_until = now + _HOLD_SECONDS
        self.since, self.begun_with = now, busy_seconds


class Budget:
    """Hears how long each worker has been busy in all, and answers with how many threads."""

    def __init__(self, cores: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.cores = cores
        self._clock = clock
        self._seen: dict[str, _Seen] = {}
        self._asked: dict[str, int] = {}

    def heard(self, worker: str, busy_seconds: float, asked: int | None = None) -> Threads:
        """A worker's report, at least one a second; ``asked`` is its user's choice.

        Who is not heard of any more is not counted.
        """
        now = self._clock()
        self._forget(now)
        if asked is not None:
            self._asked[worker] = asked
        seen = self._seen.setdefault(worker, _Seen(now, busy_seconds, now))
        seen.take(now, busy_seconds)
        busy = {one for one, its in self._seen.items() if now < its.busy_until}
        count = share(self.cores, self._asked, busy, worker)
        return Threads(count=count, why=self._why(count, worker, len(busy - {worker})))

    def gone(self, worker: str) -> None:
        """It has ended: its cores are the others' at once, its successor's above all."""
        self._seen.pop(worker, None)
        self._asked.pop(worker, None)

    def _forget(self, now: float) -> None:
        for worker in [one for one, its in self._seen.items() if now - its.heard > _HOLD_SECONDS]:
            self.gone(worker)

    def _why(self, count: int, worker: str, others: int) -> str:
        of = f"{count} of {self.cores} {'core' if self.cores == 1 else 'cores'}"
        if worker in self._asked:
            return f"{of}: asked for"
        if not others:
            return f"{of}: no other deployment is busy"
        busy = "other deployment is busy" if others == 1 else "other deployments are busy"
        return f"{of}: {others} {busy}"
