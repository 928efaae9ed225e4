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


class Holder(Protocol):
    """A request; ``held`` are the bytes that it has brought, and that are here."""

    held: int


class Room:
    """``most`` are bytes; ``retry_after`` tells when some of what is here will have been answered, in
    seconds."""

    def __init__(self, most: int, retry_after: Callable[[], int]) -> None:
        self._most = most
        self._retry_after = retry_after
        self._coming: dict[Holder, tuple[float, Attending]] = {}  # since when, the oldest first
        self.taken = 0

    def take(self, holder: Holder, count: int, coming: Attending | None = None) -> None:
        """Before so many bytes more are kept of it. ``coming`` ends its sending, where that may last.

        Raises:
            QueueFull: there is no room for them now.
        """
        if holder.held + count > LITTLE:
            more = _counted(holder.held + count) - _counted(holder.held)
            if coming and holder not in self._coming:
                self._coming[holder] = (time.monotonic(), coming)
            if self.taken + more > self._most:
                self._have_one_give_way(holder)
            self.taken += more
        holder.held += count

    def leave(self, holder: Holder, count: int) -> None:
        """So many bytes of it are not kept any more."""
        self.taken -= _counted(holder.held) - _counted(holder.held - count)
        holder.held -= count

    def came(self, holder: Holder) -> None:
        """It sends no more."""
        self._coming.pop(holder, None)

    def _have_one_give_way(self, asking: Holder) -> None:
        """Its bytes are here for a moment longer.

        Raises:
            QueueFull: none has been sending for long enough.
        """
        now = time.monotonic()
        others = {one: since for one, (since, _) in self._coming.items() if one is not asking}
        slow = [one for one, since in others.items() if now - since >= _PATIENCE]
        if slow:
            _, deadline = self._coming.pop(max(slow, key=lambda one: one.held))
            deadline.end(_gave_way())
            return
        error = QueueFull(
            "the bodies of the requests that are here take too much memory",
            hint="try again after the seconds named in Retry-After",
        )
        first = min(others.values(), default=None)
        error.retry_after = (
            self._retry_after() if first is None else max(1, math.ceil(first + _PATIENCE - now))
        )
        raise error


def _counted(held: int) -> int:
    return max(0, held - LITTLE)


def _gave_way() -> SlowBody:
    return SlowBody(
        f"the body was still coming after {_PATIENCE:g} seconds, and others needed its room",
        hint="send it faster, or try again when there is less to do",
    )
