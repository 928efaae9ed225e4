"""The asyncio side of one inference thread: requests wait here, and are told when they are done."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import threading
import time
from abc import ABC, abstractmethod
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

from modeldeploy.errors import ModelDeployError, PredictionFailed, QueueFull
from modeldeploy.schema.problem import Crowd
from modeldeploy.worker.adapter import Item
from modeldeploy.worker.batching.line import Line
from modeldeploy.worker.batching.pace import Pace
from modeldeploy.worker.failures import one_line

log = logging.getLogger(__name__)

T = TypeVar("T")

_LONGEST_RETRY = 120


class Failure:
    """An item's outcome when it has none."""

    def __init__(self, error: BaseException) -> None:
        self.error = _told(error)


_GONE = frozenset({"AcceleratorError"})  # torch's, of a GPU that answers nothing any more


def _told(error: BaseException) -> ModelDeployError:
    if type(error).__name__ in _GONE:
        raise error
    if isinstance(error, ModelDeployError):
        return error
    log.error("the model failed on an item", exc_info=error)
    return PredictionFailed(
        f"the model failed on this input: {one_line(error)}",
        hint="the worker's log has the whole story; other requests are not affected",
    )


class Ticket:
    """One request: its items, what became of them, and when (``time.monotonic``; 0: not yet)."""

    def __init__(self, items: Sequence[Item], done: asyncio.Future[None]) -> None:
        self.items = items
        by_size = sorted(range(len(items)), key=lambda index: items[index].size)
        self.waiting: OrderedDict[int, None] = OrderedDict.fromkeys(by_size)
        self.raws: list[Any] = [None] * len(items)
        self.unsettled = set(range(len(items)))
        self.done = done
        self.error: ModelDeployError | None = None
        self.entered = time.monotonic()
        self.started = self.ended = 0.0

    @property
    def left(self) -> int:
        """Items that have no outcome yet."""
        return len(self.unsettled)

    @property
    def first(self) -> int:
        """Of the items that wait, the next one."""
        return next(iter(self.waiting))

    @property
    def queue_seconds(self) -> float:
        """Until the model turned to it, or so far."""
        return (self.started or self._now()) - self.entered

    @property
    def inference_seconds(self) -> float:
        """From then to its end, or so far."""
        return self._now() - self.started if self.started else 0.0

    def _now(self) -> float:
        return self.ended or time.monotonic()

    def begin(self) -> None:
        """The model has turned to it."""
        self.started = self.started or time.monotonic()

    def settle(self, index: int, outcome: Any) -> bool:
        """Take one item's outcome, the first of it; whether the request is over with it."""
        if index not in self.unsettled:
            return False
        self.unsettled.remove(index)
        if isinstance(outcome, Failure):
            self.error = outcome.error
            self.drop()
            return True
        self.raws[index] = outcome
        if self.left:
            return False
        self.ended = self.ended or time.monotonic()
        return True

    def drop(self) -> None:
        """Nobody wants the rest any more."""
        self.ended = self.ended or time.monotonic()
        self.waiting.clear()
        for item in self.items:
            item.dropped = True


class Front(ABC):
    """Made in the event loop; the work is done in a thread of its own (:meth:`_work`).

    ``longest_retry`` bounds, in seconds, when a request that is refused may be told to come again.
    """

    def __init__(self, max_queue: int) -> None:
        self._max_queue = max_queue
        self._loop = asyncio.get_running_loop()
        self._some = threading.Condition()
        self._queue: Line[Ticket] = Line()
        self._jobs: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self.calls = ""  # what goes into one call, in words
        self._pace = Pace()
        self._calls: dict[int, float] = {}  # of threads, and since when
        self.longest_retry = _LONGEST_RETRY
        self.closing = threading.Event()
        self._thread = self._computing(self._live, "inference")

    @property
    def depth(self) -> int:
        """Requests that have work waiting."""
        return len(self._queue)

    @property
    def busy_seconds(self) -> float:
        """For how long, in all, there was a request."""
        with self._some:
            return self._pace.busy_seconds

    @property
    def oldest_call(self) -> float | None:
        """When the oldest call of the model that goes on began (``time.monotonic``)."""
        return min(list(self._calls.values()), default=None)

    @contextlib.contextmanager
    def _calling(self) -> Iterator[None]:
        """Around what the model does for requests, in a thread that computes."""
        thread = threading.get_ident()
        self._calls[thread] = time.monotonic()
        try:
            yield
        finally:
            del self._calls[thread]

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def close(self) -> None:
        with self._some:
            self.closing.set()
            self._some.notify_all()

    def between(self, job: Callable[[], T]) -> Future[T]:
        """Have the inference thread do this soon, between two calls: however many jobs come, after
        each that is waited for a request has its turn. From any thread; cancelled where the front
        is closed before."""
        future: Future[T] = Future()
        with self._some:
            if self.closing.is_set():
                future.cancel()
            else:
                self._jobs.append((job, future))
                self._some.notify_all()
        return future

    def have_threads(self, count: int, use: Callable[[int], None]) -> Future[None]:
        """Have the model compute with so many CPU threads soon: ``use`` is told in the inference
        thread. From any thread."""
        return self.between(partial(use, count))

    def full(self, depth: int, most: int) -> QueueFull:
        """The refusal for one more request when ``depth`` are there, and no more than ``most`` may."""
        error = QueueFull(
            f"{depth} requests are waiting already, and no more than {most} may: this one would have "
            f"been number {depth + 1}",
            hint="try again after the seconds named in Retry-After: then those will have been served",
        )
        error.crowd = Crowd(depth=depth, position=depth + 1, limit=most)
        error.retry_after = self.retry_after(depth)
        return error

    def retry_after(self, depth: int) -> int:
        """Seconds until so many are served at the rate of the latest requests."""
        with self._some:
            seconds = self._pace.seconds
        return max(1, min(self.longest_retry, math.ceil(depth * seconds)))

    async def run(
        self, items: Sequence[Item], queued: Callable[[Ticket], None] = lambda ticket: None
    ) -> Ticket:
        """The ticket with all raw outputs, of which ``queued`` hears as soon as there is one.
        Cancelling drops what has not been run.

        Raises:
            QueueFull: nothing was queued.
            PredictionFailed: ``core`` failed on one of the items.
        """
        ticket = Ticket(items, self._loop.create_future())
        with self._some:
            if len(self._queue) >= self._max_queue:
                raise self.full(len(self._queue), self._max_queue)
            self._queue.add(ticket)
            self._pace.came(ticket)
            self._some.notify_all()
        queued(ticket)
        try:
            await ticket.done
        finally:
            if ticket.left:
                self._forget(ticket)
        if ticket.error:
            try:
                raise ticket.error
            finally:
                ticket.error = None  # its traceback has the ticket: neither would go until garbage is collected
        return ticket

    def _forget(self, ticket: Ticket) -> None:
        with self._some:
            ticket.drop()
            self._pace.left(ticket, served=False)
            self._queue.remove(ticket)

    # In the inference thread.

    def _turn_to(self, chosen: Sequence[tuple[Ticket, int]]) -> None:
        """The model turns to these items, which is a turn of the first one's request; those of which
        no more waits leave the queue. Called with the lock held."""
        self._queue.turned_to(chosen[0][0])
        for ticket, index in chosen:
            del ticket.waiting[index]
            ticket.begin()
            if not ticket.waiting:
                self._queue.remove(ticket)

    def _live(self) -> None:
        self._work()
        self._drop_jobs()

    def _computing(self, work: Callable[[], None], name: str) -> threading.Thread:
        """A thread that computes, and with whose death the worker ends."""

        def live() -> None:
            try:
                work()
            except (
                BaseException
            ):  # a bug of ours, or a device that is gone: nobody could be answered
                log.critical(
                    "a thread that computes has died, and the worker with it", exc_info=True
                )
                logging.shutdown()
                os._exit(1)  # the supervisor puts another in its place

        return threading.Thread(target=live, name=name, daemon=True)

    @abstractmethod
    def _work(self) -> None:
        """Serve the queue until ``closing`` is set, with :meth:`_do_jobs` between two calls."""

    def _do_jobs(self) -> None:
        for _ in range(len(self._jobs)):  # what is given meanwhile lets a call go first
            job, future = self._jobs.popleft()
            try:
                with self._calling():
                    done = job()
                future.set_result(done)
            except Exception as error:  # it is for whoever gave the job
                future.set_exception(error)

    def _drop_jobs(self) -> None:
        with self._some:
            for _, future in self._jobs:
                future.cancel()
            self._jobs.clear()

    def _settled(self, over: Iterable[Ticket]) -> None:
        """These requests are over."""
        done = list(over)
        with self._some:
            for ticket in done:
                self._queue.remove(ticket)
                self._pace.left(ticket, served=True)
        if done:
            self._in_loop(_tell, done)

    def _in_loop(self, function: Any, *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process is ending
            self._loop.call_soon_threadsafe(function, *arguments)


def _tell(over: list[Ticket]) -> None:
    for ticket in over:
        if not ticket.done.done():
            ticket.done.set_result(None)
