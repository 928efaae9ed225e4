"""Memory that what comes with requests may take together. Little has room always; where there is none for
more, whoever has much of it and has been sending for a while gives way."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Protocol

from modeldeploy.errors import QueueFull, SlowBody
from modeldeploy.web.attending import Attending

LITTLE = 64 * 1024  # bytes of each request that do not count
_PATIENCE = 2.0  # seconds that more than that may take to come where others want the room
_MOST_COMING = 4096


class Holder(Protocol):
    """A request; ``held`` are the bytes that it has brought, and that are here."""

    held: int

    def forget(self) -> None:
        """What came of it is not needed any more."""


class Room:
    """``most`` are bytes; ``retry_after`` tells when some of what is here will have been answered, in
    seconds."""

    def __init__(self, most: int, retry_after: Callable[[], int]) -> None:
        self._most = most
        self._retry_after = retry_after
        self._coming: dict[Holder, tuple[float, Attending]] = {}  # since when, the oldest first
        self.taken = 0

    def comes(self, holder: Holder, coming: Attending) -> None:
        """It begins to send, which ``coming`` ends. Of too many the one that has been at it for longest
        gives way, little as it may have brought."""
        if len(self._coming) >= _MOST_COMING:
            self._give_way(next(iter(self._coming)))
        self._coming[holder] = (time.monotonic(), coming)

    def take(self, holder: Holder, count: int) -> None:
        """Before so many bytes more are kept of it.

        Raises:
            QueueFull: there is no room for them now.
        """
        if holder.held + count > LITTLE:
            more = _counted(holder.held + count) - _counted(holder.held)
            if self.taken + more > self._most:
                self._make_room(holder, self.taken + more - self._most)
            self.taken += more
        holder.held += count

    def leave(self, holder: Holder, count: int) -> None:
        """So many bytes of it are not kept any more."""
        self.taken -= _counted(holder.held) - _counted(holder.held - count)
        holder.held -= count

    def came(self, holder: Holder) -> None:
        """It sends no more."""
        self._coming.pop(holder, None)

    def _make_room(self, asking: Holder, lacking: int) -> None:
        """Nobody gives way where that is not enough.

        Raises:
            QueueFull: too few have been sending for long enough.
        """
        now = time.monotonic()
        others = [(since, one) for one, (since, _) in self._coming.items() if one is not asking]
        slow = [one for since, one in others if now - since >= _PATIENCE]
        if sum(_counted(one.held) for one in slow) < lacking:
            raise self._full(others, lacking, now)
        before = self.taken
        for one in sorted(slow, key=lambda one: one.held, reverse=True):
            if before - self.taken >= lacking:
                break
            self._give_way(one)

    def _full(self, others: list[tuple[float, Holder]], lacking: int, now: float) -> QueueFull:
        """``others`` send, the oldest first: how long until they would give way is told."""
        error = QueueFull(
            "the bodies of the requests that are here take too much memory",
            hint="try again after the seconds named in Retry-After",
        )
        for since, one in others:
            lacking -= _counted(one.held)
            if lacking <= 0:
                error.retry_after = max(1, math.ceil(since + _PATIENCE - now))
                return error
        error.retry_after = self._retry_after()
        return error

    def _give_way(self, holder: Holder) -> None:
        """What it brought goes at once: it may take a while until it has heard why."""
        _, deadline = self._coming.pop(holder)
        holder.forget()
        self.leave(holder, holder.held)
        deadline.end(_gave_way())


def _counted(held: int) -> int:
    return max(0, held - LITTLE)


def _gave_way() -> SlowBody:
    return SlowBody(
        "the body was still coming, and others needed its room",
        hint="send it faster, or try again when there is less to do",
    )
