"""Requests to batches and back: whole calls of the model.

Whenever the model is free what is queued is taken, up to the limits, which may change between two calls
(:mod:`modeldeploy.worker.batching.picking`); a call waits for company only where a deployment says for
how long. The request at the head of the queue is always served and then goes behind those that were not yet
(:mod:`modeldeploy.worker.batching.line`), so long lists do not hold up a short question, and nobody starves.

A lone item's call has all threads. Where several wait, and the model was seen to get through more of
them so, calls are made in lanes: at the same time, with a part of the threads each, which then wait less
for one another.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from modeldeploy.schema.computing import Batching
from modeldeploy.worker.adapter import BatchLimits, Dropped, Item
from modeldeploy.worker.batching import picking
from modeldeploy.worker.batching.front import Failure, Front
from modeldeploy.worker.batching.picking import Chosen

Core = Callable[[list[Item]], list[Any]]


@dataclass(frozen=True)
class Lanes:
    """Calls at the same time: each computes with so many ``threads``, within ``limits``."""

    threads: int
    limits: BatchLimits


class Batcher(Front):
    """``core`` runs in the inference thread, or in those of lanes, where ``take_threads`` hears before
    with how many threads; and there ``on_batch`` hears how many items each call takes. What
    ``batching`` fixes holds whatever the limits: for as many seconds as its window after the first
    arrival a call that is not full waits for company."""

    def __init__(
        self,
        core: Core,
        limits: BatchLimits,
        max_queue: int,
        on_batch: Callable[[int], None] = lambda items: None,
        batching: Batching = Batching(),  # noqa: B008  # frozen
        take_threads: Callable[[int], None] = lambda count: None,
    ) -> None:
        super().__init__(max_queue)
        self._core = core
        self._on_batch = on_batch
        self.batching = batching
        self._take_threads = take_threads
        self.threads = 1
        self._lanes: Lanes | None = None
        self._lane_threads: list[threading.Thread] = []
        self._in_lanes = 0  # calls now
        self._is_wide = False  # a call with all threads, or jobs, now
        self._is_crowded = False  # some had to wait for the latest of these calls
        self._owes_a_call = False  # the latest turn went to jobs
        self.use(limits)
        self._thread.start()

    @property
    def limits(self) -> BatchLimits:
        return self._limits

    @property
    def lanes(self) -> tuple[int, int] | None:
        """How many calls are made at once where several items wait, and the threads of each; None: one."""
        with self._some:
            count = self._lane_count
            return (count, self._lanes.threads) if self._lanes and count else None

    def use(self, limits: BatchLimits, why: str = "", lanes: Lanes | None = None) -> None:
        """From the next call on. ``why`` says where they come from. From any thread."""
        with self._some:
            self._limits = limits.within(self.batching)
            self._lanes = lanes and Lanes(lanes.threads, lanes.limits.within(self.batching))
            self.calls = self._words(why)
            self._have_lanes()
            self._some.notify_all()  # one that waits for company may be full

    def _words(self, why: str) -> str:
        window = self.batching.window
        has_company = self._limits.items > 1 or self.batching.max_size == 1
        fixed = self.batching.fixed if has_company else []
        set_by_user = f"set: {', '.join(fixed)}" if fixed else ""
        told = "; ".join(one for one in (set_by_user, why) if one)
        waits = f", waiting {window:g} s for company" if window else ""
        beside = ""
        if lanes := self._lanes:
            beside = (
                f"; when several wait, {self._lane_count} at a time with "
                f"{lanes.threads} thread{'s' * (lanes.threads > 1)} each, of up to {lanes.limits}"
            )
        return f"of up to {self._limits}{waits}{beside}{f' ({told})' if told else ''}"

    def have_threads(self, count: int, use: Callable[[int], None]) -> Future[None]:
        def job() -> None:
            with self._some:
                self.threads = count
                self._have_lanes()
            use(count)

        return self.between(job)

    # Lanes. Called with the lock held.

    @property
    def _lane_count(self) -> int:
        """How many there are; a single one is none."""
        if self._lanes is None or self.batching.window:
            return 0
        count = self.threads // self._lanes.threads
        return count if count > 1 else 0

    def _have_lanes(self) -> None:
        """Threads for them; those that are too many wait until they are not."""
        while (number := len(self._lane_threads)) < self._lane_count:
            lane = self._computing(partial(self._work_in_lane, number), f"lane {number}")
            self._lane_threads.append(lane)
            lane.start()

    @property
    def _is_for_lanes(self) -> bool:
        """Whether calls are made in lanes now: several items wait, or one that had to or has company
        in another lane."""
        if not self._lane_count:
            return False
        waiting = sum(len(ticket.waiting) for ticket in islice(self._queue, 2))
        return waiting > 1 or bool(waiting and (self._in_lanes or self._is_crowded))

    # In the threads that compute.

    def _work(self) -> None:
        while True:
            with self._some:
                has_jobs, chosen = self._turn()
                while not (has_jobs or chosen):
                    if self.closing.is_set() and not self._queue:
                        return
                    self._some.wait(self._patience())
                    has_jobs, chosen = self._turn()
                self._is_wide, self._owes_a_call = True, has_jobs
            if (
                self._lane_threads
            ):  # they took others: some of a thread's settings are the process's
                self._take_threads(self.threads)
            if has_jobs:
                self._do_jobs()
            else:
                self._run(chosen)
            with self._some:
                self._is_wide, self._is_crowded = False, bool(chosen and self._queue)
                self._some.notify_all()

    def _turn(self) -> tuple[bool, list[Chosen]]:
        """Whether jobs are to be done now, or else what the next call is of, which has all threads;
        neither where calls in lanes go on or are next. Called with the lock held."""
        if self._in_lanes or (self._is_for_lanes and (self._owes_a_call or not self._jobs)):
            return False, []
        if self._jobs and not self._owes_a_call:
            return True, []
        chosen = self._take(self._limits)
        return bool(self._jobs and not chosen), chosen

    def _work_in_lane(self, number: int) -> None:
        while True:
            with self._some:
                while not (chosen := self._lane_turn(number)):
                    if self.closing.is_set() and not self._queue:
                        return
                    self._some.wait()
                assert self._lanes is not None
                threads = self._lanes.threads
                self._in_lanes += 1
                self._owes_a_call = self._is_crowded = False
            self._take_threads(threads)
            self._run(chosen)
            with self._some:
                self._in_lanes -= 1
                self._some.notify_all()

    def _lane_turn(self, number: int) -> list[Chosen]:
        """What the next call in that lane is of. Called with the lock held."""
        waits_for_jobs = self._jobs and not self._owes_a_call
        if self._is_wide or waits_for_jobs or number >= self._lane_count or not self._is_for_lanes:
            return []
        assert self._lanes is not None
        free = max(1, self._lane_count - self._in_lanes)
        return self._take(picking.shared(self._lanes.limits, self._queue, free))

    def _take(self, limits: BatchLimits) -> list[Chosen]:
        """The next batch, taken off the queue; none where it waits for company. Called with the
        lock held."""
        patience = self._patience()
        for lead in picking.leads(self._queue):
            chosen, is_full = picking.company(self._queue, lead, limits)
            if is_full or not patience:
                self._turn_to(chosen)
                return chosen
        return []

    def _patience(self) -> float | None:
        """Seconds for which what is queued may yet wait for company; None where nothing does."""
        if not self.batching.window or self.closing.is_set() or not self._queue:
            return None
        first = min(ticket.entered for ticket in self._queue)
        return max(0.0, first + self.batching.window - time.monotonic())

    def _run(self, chosen: list[Chosen]) -> None:
        self._on_batch(len(chosen))
        items = [ticket.items[index] for ticket, index in chosen]
        for item, one in zip(items, chosen, strict=True):
            item.settle = partial(self._settle_early, one)
        with self._calling():
            outcomes = self._attempt(items)
        for item in items:
            item.settle = None  # which has the ticket, and the ticket the item
        with self._some:
            over = [
                ticket
                for (ticket, index), outcome in zip(chosen, outcomes, strict=True)
                if ticket.settle(index, outcome)
            ]
            self._settled(over)

    def _settle_early(self, one: Chosen, outcome: Any) -> None:
        ticket, index = one
        with self._some:
            self._settled([ticket] if ticket.settle(index, outcome) else [])
            ticket.items[index].dropped = True

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
