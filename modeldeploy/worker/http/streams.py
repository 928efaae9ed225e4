"""An answer that is wanted piece by piece: from the inference thread to whoever sends it on."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from modeldeploy.errors import ModelDeployError, RequestTimeout
from modeldeploy.web.attending import Attending
from modeldeploy.web.incoming import ClientGone
from modeldeploy.worker.adapter import Item
from modeldeploy.worker.batching.front import Front
from modeldeploy.worker.http.exchange import Exchange


@runtime_checkable
class Streams(Protocol):
    """An adapter whose answers come in pieces."""

    def streamed(self, pieces: Sequence[Any], prompt: Any, parameters: Any) -> Any:
        """The task's own event for the last of ``pieces``."""
        ...


def took_too_long(seconds: float) -> RequestTimeout:
    return RequestTimeout(
        f"the request was not done within {math.ceil(seconds)} seconds",
        hint="ask for less, or try again when there is less to do",
    )


def attending(seconds: float, exchange: Exchange) -> Attending:
    """For what is done for one client, and no longer than it waits and may.

    Raises:
        RequestTimeout; ClientGone.
    """
    return Attending(seconds, lambda: took_too_long(seconds), exchange.gone, ClientGone)


class Stream:
    """The pieces of one item's answer, which may take ``seconds``, and until ``ends``. Closing it, or cancelling whoever reads it, drops what is
    not written yet. ``on_piece`` hears of each piece, in the inference thread, and ``on_error`` of
    what goes wrong once the answer has begun."""

    def __init__(
        self,
        items: list[Item],
        exchange: Exchange,
        seconds: float,
        ends: float,
        on_piece: Callable[[Any], None] = lambda piece: None,
        on_error: Callable[[ModelDeployError], None] = lambda error: None,
    ) -> None:
        (self._item,) = items
        self._item.sink = self._put
        self._exchange = exchange
        self._on_piece = on_piece
        self._on_error = on_error
        self._seconds = seconds
        self._deadline = ends
        self._loop = asyncio.get_running_loop()
        self._pieces: deque[Any] = deque()
        self._news = asyncio.Event()
        self._waking = False
        self._work: asyncio.Future[Any] | None = None

    @property
    def prompt(self) -> Any:
        """What the adapter made of the input."""
        return self._item.data

    def _put(self, piece: Any) -> None:
        """Called in the inference thread."""
        self._pieces.append(piece)
        self._on_piece(piece)
        if not self._waking:
            self._waking = True
            with contextlib.suppress(RuntimeError):  # the loop is closed: the process is ending
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._waking = False
        self._news.set()

    async def begin(self, front: Front) -> None:
        """Have it written, and return when there is a first piece.

        Raises:
            QueueFull, PredictionFailed, RequestTimeout; ClientGone.
        """
        self._work = asyncio.ensure_future(front.run([self._item], self._exchange.timed_by))
        self._work.add_done_callback(lambda work: self._news.set())
        gone = asyncio.ensure_future(self._exchange.gone())
        try:
            waiting = asyncio.ensure_future(self._wait())
            await asyncio.wait({waiting, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                waiting.cancel()
                raise ClientGone
            waiting.result()
            if not self._pieces:
                self._work.result()
        except BaseException:  # also a cancellation: nobody will read it
            self.close()
            raise
        finally:
            gone.cancel()

    async def _wait(self) -> None:
        left = self._deadline - time.monotonic()
        try:
            await asyncio.wait_for(self._news.wait(), max(0.0, left))
        except asyncio.TimeoutError as error:
            raise took_too_long(self._seconds) from error
        self._news.clear()

    def close(self) -> None:
        if self._work:
            self._work.cancel()

    async def __aiter__(self) -> AsyncIterator[Any]:
        """Piece by piece to the end.

        Raises:
            PredictionFailed, RequestTimeout
        """
        work = self._work
        assert work is not None
        try:
            while True:
                while self._pieces:
                    yield self._pieces.popleft()
                if work.done() and not self._pieces:
                    break
                await self._wait()
            work.result()
        except ModelDeployError as error:
            self._on_error(error)
            raise
        finally:
            self.close()
