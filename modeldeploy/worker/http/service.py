"""What every dialect asks for a prediction: readiness, limits, time, the model."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from msgspec.structs import astuple

from modeldeploy.errors import (
    InvalidRequest,
    ModelDeployError,
    NotReady,
    PredictionFailed,
    QueueFull,
)
from modeldeploy.schema.stages import Stage
from modeldeploy.schema.tasks import TaskSchema
from modeldeploy.schema.threads import Threads
from modeldeploy.web.room import Room
from modeldeploy.worker.adapter import Adapter, Dropped, Item
from modeldeploy.worker.batching import hanging
from modeldeploy.worker.batching.front import Front
from modeldeploy.worker.effort import Effort, go_on
from modeldeploy.worker.failures import one_line, panics_as_errors
from modeldeploy.worker.http.exchange import Exchange
from modeldeploy.worker.http.media import Media
from modeldeploy.worker.http.metrics import Metrics
from modeldeploy.worker.http.streams import Stream, attending
from modeldeploy.worker.http.weight import QUICK, weight
from modeldeploy.worker.state import WorkerState

log = logging.getLogger(__name__)

T = TypeVar("T")
AnyAdapter = Adapter[Any, Any]
OnLive = Callable[[AnyAdapter, Front], None]

_ASIDE_THREADS = 2
_MOST_ITEMS = 16_384  # of one request: a text and 256 labels are so many already
_BODIES_HELD = 8  # times the largest body
_BESIDE = 64  # requests that may be made ready, or answered, beside those in the queue
_RETRY_LOADING = 5
_TIMEOUTS_TO_HANG = 2  # a call that takes so many times what a request may, and does nothing


class Service:
    """Made in the event loop. The model comes later, and from then on there is a batcher, of which
    ``on_live`` hears."""

    def __init__(
        self, state: WorkerState, task: TaskSchema, on_live: OnLive = lambda adapter, front: None
    ) -> None:
        self.state = state
        self.task = task
        self.limits = state.spec.limits
        self.metrics = self._metrics()
        self.adapter: AnyAdapter | None = None
        self.batcher: Front | None = None
        self._on_live = on_live
        self._room = Room(_BODIES_HELD * self.limits.max_body_bytes, self._retry_after)
        self._being_read = 0
        self._load_seconds = 0.0
        self._watching: asyncio.Task[None] | None = None
        self._media = Media(state.spec.allow_media_urls, self.limits.max_body_bytes)
        self._loop = asyncio.get_running_loop()
        self._aside = ThreadPoolExecutor(_ASIDE_THREADS, thread_name_prefix="aside")

    def _metrics(self) -> Metrics:
        made, state = Metrics(self.state.spec.deployment), self.state
        made.gauge("in_flight", "Predictions being answered now.", lambda: state.in_flight)
        made.gauge(
            "queue_depth",
            "Requests that wait for the model.",
            lambda: self.batcher.depth if self.batcher else 0,
        )
        made.gauge(
            "load_seconds",
            "From the worker's start until its model was ready; 0 before.",
            lambda: self._load_seconds,
        )
        made.gauge(
            "ready",
            "1 when a prediction would be answered now.",
            lambda: state.now.phase == "ready",
        )
        return made

    def loaded(self, adapter: AnyAdapter) -> None:
        """The model is there. Called in the loading thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process is ending
            self._loop.call_soon_threadsafe(self._go_live, adapter)

    def _go_live(self, adapter: AnyAdapter) -> None:
        self.adapter = adapter
        front = self.batcher = adapter.front(
            self.limits.max_queue, self.metrics.batch, self.state.spec.batching
        )
        longest = min(self.batcher.longest_retry, math.ceil(self._seconds(adapter)))
        self.batcher.longest_retry = longest
        self._load_seconds = time.time() - self.state.started_at
        self.state.busy_seconds = lambda: front.busy_seconds
        self.state.reserved = lambda: adapter.reserved
        self.state.runs = self.runs
        self._have_threads(adapter, front)
        phase = self.state.now.phase
        self.state.update(
            phase="ready" if phase == "loading" else phase,
            stage=Stage.SERVER,
            fraction=1.0,
            message="ready",
        )
        watching = hanging.watch(front, _TIMEOUTS_TO_HANG * self._seconds(adapter))
        self._watching = self._loop.create_task(watching)
        log.info("ready")
        self._on_live(adapter, self.batcher)

    def runs(self) -> dict[str, str]:
        """How the model computes, in words, as far as it is known by now."""
        calls = {"calls": self.batcher.calls} if self.batcher else {}
        return {**self.adapter.info().runs, **calls} if self.adapter else {}

    def use_threads(self, threads: Threads) -> None:
        """Have the model compute with so many from its next call on."""
        before, self.state.threads = self.state.threads, threads
        if self.adapter and self.batcher and threads.count != before.count:
            self._have_threads(self.adapter, self.batcher)
        self.state.update()  # whoever listens is to hear of it now

    def _have_threads(self, adapter: AnyAdapter, front: Front) -> None:
        done = front.have_threads(self.state.threads.count, adapter.use_threads)
        done.add_done_callback(_tell_of_failure)

    @property
    def is_ready(self) -> bool:
        """Whether a prediction would be answered now."""
        return self.state.now.phase == "ready" and bool(self.batcher and self.batcher.alive)

    def close(self) -> None:
        if self._watching:
            self._watching.cancel()
        if self.batcher:
            self.batcher.close()
        self._aside.shutdown(wait=False, cancel_futures=True)

    def admit(self, exchange: Exchange) -> None:
        """Before anything that a prediction costs, its body included; :meth:`release` follows
        when the answer is out.

        Raises:
            QueueFull: so many are here already that this one could only wait.
        """
        exchange.is_prediction = True
        self._refuse_if_full()
        exchange.is_admitted = True
        self.state.requests += 1
        self.state.in_flight += 1
        self._being_read += 1

    def _refuse_if_full(self) -> None:
        """Who sends slowly takes nobody's place: only those are counted whose body is here. Where the queue
        is full, nobody's input is looked at."""
        if self.batcher and (depth := self.batcher.depth) >= self.limits.max_queue:
            raise self.batcher.full(depth, self.limits.max_queue)
        here, most = self.state.in_flight - self._being_read, self.limits.max_queue + _BESIDE
        if here < most:
            return
        if self.batcher:
            raise self.batcher.full(here, most)
        raise self._crowded("more requests wait for the model to be loaded than may wait")

    def release(self, exchange: Exchange) -> None:
        """The exchange is over, whichever way."""
        if exchange.is_admitted:
            exchange.is_admitted = False
            self._room.leave(exchange, exchange.held)
            self._being_read -= not exchange.is_read
            self.state.in_flight -= 1

    async def body(self, exchange: Exchange) -> bytes:
        """The whole body of an admitted exchange.

        Raises:
            QueueFull: those that are here already are too many or hold too much. And what :meth:`Exchange.body` does.
        """
        raw = await exchange.body(self.limits.max_body_bytes, self._room)
        self._refuse_if_full()
        exchange.was_read()
        self._being_read -= 1
        return raw

    def _crowded(self, message: str) -> QueueFull:
        error = QueueFull(message, hint="try again after the seconds named in Retry-After")
        error.retry_after = self._retry_after()
        return error

    def _retry_after(self) -> int:
        """Until all that are here are answered."""
        front, here = self.batcher, self.state.in_flight
        return front.retry_after(here) if front else _RETRY_LOADING

    async def model(self) -> tuple[AnyAdapter, Front]:
        """The loaded model, waited for a little.

        Raises:
            NotReady: with stage and progress.
        """
        if self.adapter is None:
            await self.state.settled(self.limits.load_wait)
        if self.adapter is None or self.batcher is None:
            raise self._not_ready()
        return self.adapter, self.batcher

    def _not_ready(self) -> NotReady:
        now = self.state.now
        if now.phase == "failed":
            return NotReady(
                f"the model could not be loaded: {now.message}",
                hint=now.problem.hint if now.problem else "",
            )
        error = NotReady(
            f"the model is not ready: {now.phase}, stage {now.stage.value}, {now.percent} %",
            hint="try again after the seconds named in Retry-After; GET /health shows the progress",
        )
        error.retry_after = _RETRY_LOADING
        return error

    async def aside(self, effort: int, function: Callable[..., T], *arguments: Any) -> T:
        """``function`` here, or off the event loop where ``effort`` says that it takes long. There
        it hears of a cancellation where it looks (:mod:`modeldeploy.worker.effort`)."""
        if effort <= QUICK:
            return function(*arguments)
        work = Effort()
        try:
            return await self._loop.run_in_executor(self._aside, work.of, function, *arguments)
        except asyncio.CancelledError:
            work.abandoned = True
            raise

    async def predict(
        self, inputs: Sequence[Any], parameters: Any, exchange: Exchange
    ) -> list[Any]:
        """One of the task's ``output`` for each of ``inputs``, in order.

        Raises:
            NotReady, QueueFull, RequestTimeout, InvalidRequest, PredictionFailed; ClientGone.
        """
        self._check_count(inputs)
        adapter, batcher = await self.model()
        seconds = self._seconds(adapter)
        with attending(seconds, exchange):
            return await self._work(adapter, batcher, inputs, parameters, exchange)

    def _check_count(self, inputs: Sequence[Any]) -> None:
        """Lists may stand in one input, too."""
        count, most = sum(map(_texts, inputs)), self.limits.max_texts
        if count > most:
            raise InvalidRequest(
                f"the request holds {count} texts, the limit is {most}",
                hint="send several requests",
            )

    def _seconds(self, adapter: AnyAdapter) -> float:
        return self.limits.generation_timeout if adapter.generates else self.limits.request_timeout

    async def stream(self, inputs: Any, parameters: Any, exchange: Exchange) -> Stream:
        """The pieces of the answer to one input, as they come.

        Raises:
            NotReady, QueueFull, InvalidRequest: before there is a first piece; what goes wrong
                later is raised by the stream.
        """
        adapter, batcher = await self.model()
        seconds, metrics = self._seconds(adapter), self.metrics
        ends = time.monotonic() + seconds
        with attending(seconds, exchange):
            (inputs,) = await self._media.fetched([inputs], partial(self._room.take, exchange))
            effort = _effort(adapter, [inputs])
            (items,) = await self.aside(effort, self._pre, adapter, [inputs], parameters)
        stream = Stream(
            items,
            exchange,
            seconds,
            ends,
            on_piece=metrics.stream(exchange.started),
            on_error=lambda error: metrics.failed(error.code),
        )
        await stream.begin(batcher)
        self.metrics.tokens(*adapter.tokens_of(items, []))
        return stream

    async def _work(
        self,
        adapter: AnyAdapter,
        batcher: Front,
        inputs: Sequence[Any],
        parameters: Any,
        exchange: Exchange,
    ) -> list[Any]:
        inputs = await self._media.fetched(inputs, partial(self._room.take, exchange))
        effort = _effort(adapter, inputs)
        made = await self.aside(effort, self._pre, adapter, inputs, parameters)
        ticket = await batcher.run([item for items in made for item in items], exchange.timed_by)
        items = [item for items in made for item in items]
        exchange.tokens = sum(item.size for item in items)
        self.metrics.tokens(*adapter.tokens_of(items, ticket.raws))
        return await self.aside(
            effort + weight(*ticket.raws), _post, adapter, made, ticket.raws, inputs, parameters
        )

    def _pre(self, adapter: AnyAdapter, inputs: Sequence[Any], parameters: Any) -> list[list[Item]]:
        made: list[list[Item]] = []
        count = 0
        for index, one in enumerate(inputs):
            go_on()
            with _contained():
                try:
                    items = adapter.pre(one, parameters)
                except InvalidRequest as error:
                    if len(inputs) > 1 and self.task.many:
                        error.message = f"{self.task.many[1]}[{index}]: {error.message}"
                    raise
                if not items:  # there would be nothing whose end the request could wait for
                    raise PredictionFailed("the model's adapter makes nothing of this input")
                made.append(items)
                count += len(items)
                if count > _MOST_ITEMS:
                    raise InvalidRequest(
                        f"the request makes more than {_MOST_ITEMS} calls of the model",
                        hint="send several requests, each with less",
                    )
        return made


def _effort(adapter: AnyAdapter, inputs: Sequence[Any]) -> int:
    """Of the adapter's ``pre``, as :meth:`Service.aside` takes it."""
    return weight(*inputs) if all(map(adapter.is_quick, inputs)) else QUICK + 1


def _post(
    adapter: AnyAdapter,
    made: list[list[Item]],
    raws: list[Any],
    inputs: Sequence[Any],
    parameters: Any,
) -> list[Any]:
    results = []
    start = 0
    for items, one in zip(made, inputs, strict=True):
        go_on()
        with _contained():
            results.append(adapter.post(raws[start : start + len(items)], one, parameters))
        start += len(items)
    return results


def _tell_of_failure(done: Future[None]) -> None:
    if not done.cancelled() and (error := done.exception()):
        log.error("the number of threads could not be changed", exc_info=error)


def _texts(inputs: Any) -> int:
    lists = (value for value in astuple(inputs) if isinstance(value, list))
    return max(1, sum(map(len, lists)))


@contextlib.contextmanager
def _contained() -> Iterator[None]:
    """The boundary around an adapter's ``pre`` and ``post``: a model may raise anything there.

    Raises:
        PredictionFailed: for whatever is not an error of ours already.
    """
    try:
        with panics_as_errors():
            yield
    except (ModelDeployError, Dropped):
        raise
    except Exception as error:  # whatever a foreign model raises fails this request alone
        log.exception("the model failed on an input")
        raise PredictionFailed(
            f"the model failed on this input: {one_line(error)}",
            hint="the worker's log has the whole story; other requests are not affected",
        ) from error
