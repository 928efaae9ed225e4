"""Requests to batches and back: whole calls of the model.

The thread never waits for company. Whenever the model is free it takes what is queued with the
same key, of about the same size (padding is paid in full on a CPU), up to the adapter's limits.
The request at the head of the queue is always served and then goes to its end, so a long list
does not hold up a short question, and nobody starves.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from modeldeploy.worker.adapter import BatchLimits, Dropped, Item
from modeldeploy.worker.batching.front import Failure, Front, Ticket

_LOOK_AHEAD = 256

Core = Callable[[list[Item]], list[Any]]
_Chosen = tuple[Ticket, int]


class Batcher(Front):
    """``core`` runs in the inference thread, and there ``on_batch`` hears how many items each
    call takes."""

    def __init__(
        self,
        core: Core,
        limits: BatchLimits,
        max_queue: int,
        on_batch: Callable[[int], None] = lambda items: None,
    ) -> None:
        super().__init__(max_queue)
        self._core = core
        self._on_batch = on_batch
        self._limits = limits
        self._thread.start()

    # In the inference thread.

    def _work(self) -> None:
        while True:
            self._do_jobs()
            with self._some:
                while not (self._jobs or (chosen := self._take())):
                    if self._closed:
                        return
                    self._some.wait()
                if self._jobs:
                    continue
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
        candidates = list(islice(self._beside(lead), _LOOK_AHEAD))
        if self._limits.padded:
            candidates.sort(key=lambda one: abs(one[0].items[one[1]].size - lead.size))
        return self._within_limits(candidates)

    def _beside(self, lead: Item) -> Iterator[_Chosen]:
        """What may share a call with ``lead``: of each request one, then of each the next."""
        queues = [(ticket, iter(ticket.waiting)) for ticket in self._queue]
        while queues:
            left = []
            for ticket, waiting in queues:
                for index in waiting:
                    one = ticket.items[index]
                    if one.key == lead.key and (one.size == lead.size or not self._limits.equal):
                        yield ticket, index
                        left.append((ticket, waiting))
                        break
            queues = left

    def _within_limits(self, candidates: list[_Chosen]) -> list[_Chosen]:
        chosen: list[_Chosen] = []
        largest = total = 0
        for ticket, index in candidates:
            size = ticket.items[index].size
            total, largest = total + size, max(largest, size)
            cost = largest * (len(chosen) + 1) if self._limits.padded else total
            if chosen and cost > self._limits.size:
                break
            chosen.append((ticket, index))
            if len(chosen) == self._limits.items:
                break
        return chosen

    def _remove(self, chosen: list[_Chosen]) -> None:
        taken: dict[Ticket, set[int]] = {}
        for ticket, index in chosen:
            taken.setdefault(ticket, set()).add(index)
        for ticket, indices in taken.items():
            ticket.waiting = [index for index in ticket.waiting if index not in indices]
            ticket.begin()

    def _run(self, chosen: list[_Chosen]) -> None:
        self._on_batch(len(chosen))
        outcomes = self._attempt([ticket.items[index] for ticket, index in chosen])
        self._settled(
            ticket
            for (ticket, index), outcome in zip(chosen, outcomes, strict=True)
            if ticket.settle(index, outcome)
        )

    def _attempt(self, items: list[Item]) -> list[Any]:
        """An outcome for each item; a batch that fails is halved until the culprit is alone."""
        if all(item.dropped for item in items):
            return [None] * len(items)
        try:
            raws = self._core(items)
            assert len(raws) == len(items)
        except Dropped:
            return [None] * len(items)
        except BaseException as error:  # a Rust panic is one, and must end one item only
            if len(items) == 1:
                return [Failure(error)]
            middle = len(items) // 2
            return self._attempt(items[:middle]) + self._attempt(items[middle:])
        return raws
