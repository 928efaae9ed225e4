"""A call of the model that will never end: it is old, and nobody computes.

The event loop of such a worker is well, so its heartbeat says nothing of it, and each request would be
answered with 504 for ever. A call that only takes long keeps a thread busy, a GPU's too.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import os
import time
from collections.abc import Callable

from modeldeploy.worker.batching.front import Front

log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
_BUSY = 0.1  # of the time that it has taken


def computing_seconds() -> float:
    """The CPU time of every thread that this process has or had, but the calling one's: the event
    loop's. (Not by the main thread's id: after a fork that is still the parent's.)"""
    return time.process_time() - time.thread_time()


class Hanging:
    """``patience`` is how many seconds a call may take, whatever it does."""

    def __init__(
        self,
        patience: float,
        clock: Callable[[], float] = time.monotonic,
        computing: Callable[[], float] = computing_seconds,
    ) -> None:
        self._patience = patience
        self._clock = clock
        self._computing = computing
        self._call: float | None = None
        self._before = 0.0

    def look(self, call: float | None) -> bool:
        """Whether the oldest call there is, which began at ``call``, hangs."""
        if call is None:
            self._call = None
            return False
        if call != self._call:
            self._call, self._before = call, self._computing()
            return False
        age = self._clock() - call
        return age > self._patience and self._computing() - self._before < _BUSY * age


def end_worker() -> None:
    """Nobody would ever be answered; the supervisor puts another worker in our place."""
    log.critical("a call of the model hangs, and the worker ends: where its threads are")
    logging.shutdown()
    with contextlib.suppress(OSError, ValueError):  # a stream that is no file
        faulthandler.dump_traceback(all_threads=True)
    os._exit(1)


async def watch(front: Front, patience: float, on_hang: Callable[[], None] = end_worker) -> None:
    """Until ``front`` is closed, or hangs."""
    hanging = Hanging(patience)
    while not front.closing.is_set():
        await asyncio.sleep(min(_LOOK_SECONDS, patience / 4))
        if hanging.look(front.oldest_call):
            on_hang()
            return
