"""Requests to batches and back: an asyncio front, one inference thread behind it.

The thread never waits for company. Whenever the model is free it takes what is queued with the
same key, of about the same size (padding is paid in full on a CPU), up to the adapter's limits.
The request at the head of the queue is always served and then goes to its end, so a long list
does not hold up a short question, and nobody starves.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from modeldeploy.errors import ModelDeployError, PredictionFailed, QueueFull
from modeldeploy.worker.failures import one_line
from modeldeploy.worker.tasks.base import BatchLimits, Item

log = logging.getLogger(__name__)

_LOOK_AHEAD = 256
_REMEMBERED = 64
_LONGEST_RETRY = 120

Core = Callable[[list[Item]], list[Any]]


class _Failure:
    def __init__(self, error: ModelDeployError) -> None:
        self.error = error


class Ticket:
    """One request: its items, what became of them, and when (``time.monotonic``)."""

    def __init__(self, items: Sequence[Item], done: asyncio.Future[None]) -> None:
        self.items = items
        self.waiting = sorted(range(len(items)), key=lambda index: items[index].size)
        self.raws: list[Any] = [None] * len(items)
        self.left = len(items)
        self.done = done
        self.error: ModelDeployError | None = None
        self.entered = time.monotonic()
        self.started = self.ended = 0.0

    @property
    def queue_seconds(self) -> float:
        return self.started - self.entered

    @property
    def inference_seconds(self) -> float:
        return self.ended - self.started

    def settle(self, index: int, outcome: Any) -> bool:
        """Take one item's outcome; whether the request is over with it."""
        self.left -= 1
        self.ended = time.monotonic()
        if isinstance(outcome, _Failure):
            self.error = outcome.error
            self.drop()
            return True
        self.raws[index] = outcome
        return self.left == 0

    def drop(self) -> None:
        """Nobody wants the rest any more."""
        self.waiting = []
        for item in self.items:
            item.dropped = True


_Chosen = tuple[Ticket, int]


class Batcher:
    """Made in the event loop; ``core`` runs in a thread of the batcher's own, and there
    ``on_batch`` hears how many items each call takes."""

    def __init__(
        self,
        core: Core,
        limits: BatchLimits,
        max_queue: int,
        on_batch: Callable[[int], None] = lambda items: None,
    ) -> None:
        self._core = core
        self._on_batch = on_batch
        self._limits = limits
        self._max_queue = max_queue
        self._loop = asyncio.get_running_loop()
        self._some = threading.Condition()
        self._queue: deque[Ticket] = deque()
        self._finished: deque[float] = deque(maxlen=_REMEMBERED)
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="inference", daemon=True)
        self._thread.start()

    @property
    def depth(self) -> int:
        """Requests that have work waiting."""
        return len(self._queue)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def close(self) -> None:
        with self._some:
            self._closed = True
            self._some.notify()

    def full(self, depth: int) -> QueueFull:
        """The refusal for one more request when ``depth`` are waiting."""
        error = QueueFull(
            f"{depth} requests are waiting already, and no more than {self._max_queue} may",
            hint="try again after the seconds named in Retry-After",
        )
        error.retry_after = self._retry_after(depth)
        return error

    def _retry_after(self, depth: int) -> int:
        """Seconds until the queue is served at the rate of the latest requests."""
        if len(self._finished) < 2:
            return 1
        seconds = (self._finished[-1] - self._finished[0]) / (len(self._finished) - 1)
        return max(1, min(_LONGEST_RETRY, math.ceil(depth * seconds)))

    async def run(self, items: Sequence[Item]) -> Ticket:
        """The ticket with all raw outputs. Cancelling drops what has not been run.

        Raises:
            QueueFull: nothing was queued.
            PredictionFailed: ``core`` failed on one of the items.
        """
        ticket = Ticket(items, self._loop.create_future())
        with self._some:
            if len(self._queue) >= self._max_queue:
                raise self.full(len(self._queue))
            self._queue.append(ticket)
            self._some.notify()
        try:
            await ticket.done
        finally:
            if ticket.left:
                self._forget(ticket)
        if ticket.error:
            raise ticket.error
        return ticket

    def _forget(self, ticket: Ticket) -> None:
        with self._some:
            ticket.drop()
            with contextlib.suppress(ValueError):
                self._queue.remove(ticket)

    # In the inference thread.

    def _work(self) -> None:
        while True:
            with self._some:
                while not (chosen := self._take()):
                    if self._closed:
                        return
                    self._some.wait()
            self._run(chosen)

    def _take(self) -> list[_Chosen]:
        """The next batch, taken off the queue. Called with the lock held."""
        while self._queue and not self._queue[0].waiting:
            self._queue.popleft()
        if not self._queue:
            return []
        head = self._queue[0]
        lead = head.items[head.waiting[0]]
        chosen = self._company(lead)
        self._remove(chosen)
        self._queue.rotate(-1)
        self._queue = deque(ticket for ticket in self._queue if ticket.waiting)
        return chosen

    def _company(self, lead: Item) -> list[_Chosen]:
        """``lead`` and those that cost least beside it."""
        candidates: list[_Chosen] = []
        for ticket in self._queue:
            for index in ticket.waiting[: _LOOK_AHEAD - len(candidates)]:
                if ticket.items[index].key == lead.key:
                    candidates.append((ticket, index))
            if len(candidates) >= _LOOK_AHEAD:
                break
        candidates.sort(key=lambda one: abs(one[0].items[one[1]].size - lead.size))
        return self._within_limits(candidates)

    def _within_limits(self, candidates: list[_Chosen]) -> list[_Chosen]:
        chosen: list[_Chosen] = []
        largest = 0
        for ticket, index in candidates:
            larger = max(largest, ticket.items[index].size)
            if chosen and larger * (len(chosen) + 1) > self._limits.size:
                break
            chosen.append((ticket, index))
            largest = larger
            if len(chosen) == self._limits.items:
                break
        return chosen

    def _remove(self, chosen: list[_Chosen]) -> None:
        now = time.monotonic()
        taken: dict[Ticket, set[int]] = {}
        for ticket, index in chosen:
            taken.setdefault(ticket, set()).add(index)
        for ticket, indices in taken.items():
            ticket.waiting = [index for index in ticket.waiting if index not in indices]
            ticket.started = ticket.started or now

    def _run(self, chosen: list[_Chosen]) -> None:
        self._on_batch(len(chosen))
        outcomes = self._attempt([ticket.items[index] for ticket, index in chosen])
        over = [
            ticket
            for (ticket, index), outcome in zip(chosen, outcomes, strict=True)
            if ticket.settle(index, outcome)
        ]
        if over:
            self._finished.extend(ticket.ended for ticket in over)
            with contextlib.suppress(RuntimeError):  # the loop is closed: the process is ending
                self._loop.call_soon_threadsafe(_tell, over)

    def _attempt(self, items: list[Item]) -> list[Any]:
        """An outcome for each item; a batch that fails is halved until the culprit is alone."""
        if all(item.dropped for item in items):
            return [None] * len(items)
        try:
            raws = self._core(items)
            assert len(raws) == len(items)
        except BaseException as error:  # a Rust panic is one, and must end one item only
            if len(items) == 1:
                return [_failure(error)]
            middle = len(items) // 2
            return self._attempt(items[:middle]) + self._attempt(items[middle:])
        return raws


def _failure(error: BaseException) -> _Failure:
    if isinstance(error, ModelDeployError):
        return _Failure(error)
    log.error("the model failed on an item", exc_info=error)
    return _Failure(
        PredictionFailed(
            f"the model failed on this input: {one_line(error)}",
            hint="the worker's log has the whole story; other requests are not affected",
        )
    )


def _tell(over: list[Ticket]) -> None:
    for ticket in over:
        if not ticket.done.done():
            ticket.done.set_result(None)
