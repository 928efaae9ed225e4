"""A limit on what the current task does: in time, and to while somebody waits for it.

No timer where nothing has to be waited for, no task of its own where it does not take long.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from types import TracebackType

_SOON = 0.05  # seconds until somebody looks whether the client is still there

Gone = Callable[[], Awaitable[None]]


class Attending:
    """``with`` it, the task is cancelled after ``seconds`` and ``late()`` is raised; and if ``gone``
    (which returns when the client has left) returns before, ``left()`` is."""

    def __init__(
        self,
        seconds: float,
        late: Callable[[], Exception],
        gone: Gone | None = None,
        left: Callable[[], Exception] = ConnectionError,
    ) -> None:
        self._seconds = seconds
        self._late = late
        self._gone = gone
        self._left = left
        self._timer: asyncio.Handle
        self._watch: asyncio.Future[None] | None = None
        self._why: Exception | None = None

    def __enter__(self) -> Attending:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._timer = self._loop.call_soon(self._wait)
        return self

    def _wait(self) -> None:
        self._ends = self._loop.time() + self._seconds
        if self._gone and self._seconds > _SOON:
            self._timer = self._loop.call_later(_SOON, self._look)
        else:
            self._timer = self._loop.call_later(self._seconds, self._over)

    def _look(self) -> None:
        assert self._gone is not None
        self._timer = self._loop.call_at(self._ends, self._over)
        self._watch = asyncio.ensure_future(self._gone())
        self._watch.add_done_callback(self._has_left)

    def _has_left(self, watch: asyncio.Future[None]) -> None:
        if not watch.cancelled():
            self.end(self._left())

    def _over(self) -> None:
        self.end(self._late())

    def end(self, why: Exception) -> None:
        """Cancel what is done within, now, and have ``why`` raised."""
        if self._why is None and self._task:
            self._why = why
            self._task.cancel()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        if self._watch:
            self._watch.cancel()
        why, self._why = self._why, None
        if why is None:
            return
        if sys.version_info >= (3, 11) and self._task:
            self._task.uncancel()
        try:
            if isinstance(error, asyncio.CancelledError):
                raise why from None
        finally:
            del why, error  # else its traceback has it, and keeps all that was at work
