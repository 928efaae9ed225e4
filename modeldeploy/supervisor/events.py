"""The progress of one deployment, kept for latecomers and told to whoever listens."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable

from modeldeploy.schema.events import Event
from modeldeploy.schema.problem import Problem
from modeldeploy.schema.stages import Stage, overall
from modeldeploy.schema.states import State

KEPT = 500


class EventLog:
    """The events of a deployment's present run, in order.

    Within a run the percent never falls, whatever is reported. Byte by byte progress is thinned
    for latecomers: of two neighbours in the same stage with the same message the newer stays.
    """

    def __init__(self, last_seq: int = 0) -> None:
        self._events: deque[Event] = deque(maxlen=KEPT)
        self._seq = last_seq
        self._changed = asyncio.Event()
        self._closed = False

    @property
    def latest(self) -> Event | None:
        return self._events[-1] if self._events else None

    def begin(self) -> None:
        """A new run: what was before it is not replayed any more."""
        self._events.clear()

    def tell(
        self,
        run: int,
        state: State,
        stage: Stage,
        fraction: float,
        message: str,
        done: int = 0,
        total: int = 0,
        unit: str = "",
        error: Problem | None = None,
    ) -> None:
        """Add one event and wake the listeners."""
        percent = overall(stage, fraction)
        previous = self.latest
        if previous and previous.run == run:
            percent = max(percent, previous.percent)
        self._seq += 1
        event = Event(
            seq=self._seq,
            time=time.time(),
            run=run,
            state=state,
            stage=stage,
            percent=round(percent, 2),
            message=message,
            done=done,
            total=total,
            unit=unit,
            error=error,
        )
        if previous and _is_same_step(previous, event):
            self._events.pop()
        self._events.append(event)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def close(self) -> None:
        """No more events will come: followers end."""
        self._closed = True
        self._wake()

    def after(self, seq: int) -> list[Event]:
        return [event for event in self._events if event.seq > seq]

    async def follow(self, after: int, until: Callable[[], bool]) -> AsyncIterator[Event]:
        """Events past ``after`` as they come, until ``until`` holds or the log is closed."""
        while True:
            changed, last = self._changed, self._closed or until()
            for event in self.after(after):
                after = event.seq
                yield event
            if last:
                return
            await changed.wait()


def _is_same_step(old: Event, new: Event) -> bool:
    return (
        old.stage is new.stage
        and old.state is new.state
        and old.message == new.message
        and old.unit == new.unit != ""
    )
