"""Requests to batches and back: whole calls of the model.

Whenever the model is free the thread takes what is queued with the same key, of about the same size
(padding is paid in full on a CPU), up to the limits, which may change between two calls; it waits
for company only where a deployment says for how long. The request at the head of the queue is always
served and then goes to its end, so a long list does not hold up a short question, and nobody starves.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from modeldeploy.schema.computing import Batching
from modeldeploy.worker.adapter import BatchLimits, Dropped, Item
from modeldeploy.worker.batching.front import Failure, Front, Ticket

_LOOK_AHEAD = 256

Core = Callable[[list[Item]], list[Any]]
_Chosen = tuple[Ticket, int]


class Batcher(Front):
    """``core`` runs in the inference thread, and there ``on_batch`` hears how many items each
    call takes. What ``batching`` fixes holds whatever the limits: for as many seconds as its window
    after the first arrival a call that is not full waits for company."""

    def __init__(
        self,
        core: Core,
        limits: BatchLimits,
        max_queue: int,
        on_batch: Callable[[int], None] = lambda items: None,
        batching: Batching = Batching(),  # noqa: B008  # frozen
    ) -> None:
        super().__init__(max_queue)
        self._core = core
        self._on_batch = on_batch
        self.batching = batching
        self.use(limits)
        self._thread.start()

    @property
    def limits(self) -> BatchLimits:
        return self._limits

    def use(self, limits: BatchLimits, why: str = "") -> None:
        """From the next call on. ``why`` says where they come from. From any thread."""
        window, fixed = self.batching.window, self.batching.fixed
        waits = f", waiting {window:g} s for company" if window else ""
        told = "; ".join(one for one in (f"set: {', '.join(fixed)}" if fixed else "", why) if one)
        with self._some:
            self._limits = limits.within(self.batching)
            self.calls = f"of up to {self._limits}{waits}{f' ({told})' if told else ''}"
            self._some.notify()  # one that waits for company may be full

    # In the inference thread.

    def _work(self) -> None:
        while True:
            self._do_jobs()
            with self._some:
                chosen = self._take()
                while not (chosen or self._jobs):
                    if self.closing.is_set():
                        return
                    self._some.wait(self._patience() if self._queue else None)
                    chosen = [] if self._jobs else self._take()
            if chosen:
                self._run(chosen)

    def _take(self) -> list[_Chosen]:
        """The next batch, taken off the queue; none where it waits for company. Called with the
        lock held."""
        self._queue = deque(ticket for ticket in self._queue if ticket.waiting)
        for lead in self._leads():
            chosen, is_full = self._company(lead)
            if is_full or not self._patience():
                self._remove(chosen)
                self._queue.rotate(-1)
                self._queue = deque(ticket for ticket in self._queue if ticket.waiting)
                return chosen
        return []

    def _leads(self) -> Iterator[Item]:
        """The first item in the queue, and of each other key the first: while one waits for company
        another's call may be full."""
        keys = set()
        for ticket in self._queue:
            item = ticket.items[ticket.waiting[0]]
            if item.key not in keys:
                keys.add(item.key)
                yield item

    def _patience(self) -> float:
        """Seconds for which what is queued may wait for company."""
        if not self.batching.window or self.closing.is_set():
            return 0.0
        first = min(ticket.entered for ticket in self._queue)
        return max(0.0, first + self.batching.window - time.monotonic())

    def _company(self, lead: Item) -> tuple[list[_Chosen], bool]:
        """``lead`` and those that cost least beside it, and whether there is no room for more."""
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

    def _within_limits(self, candidates: list[_Chosen]) -> tuple[list[_Chosen], bool]:
        chosen: list[_Chosen] = []
        largest = total = 0
        for ticket, index in candidates:
            size = ticket.items[index].size
            total, largest = total + size, max(largest, size)
            cost = largest * (len(chosen) + 1) if self._limits.padded else total
            if chosen and cost > self._limits.size:
                return chosen, True
            chosen.append((ticket, index))
            if len(chosen) >= self._limits.items or cost >= self._limits.size:
                return chosen, True
        return chosen, False

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
