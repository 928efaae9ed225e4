"""What a worker says of itself: set from any thread, heard in the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
from msgspec import Struct
from msgspec.structs import replace

from modeldeploy.schema.problem import Problem
from modeldeploy.schema.stages import Stage, overall
from modeldeploy.schema.threads import Threads
from modeldeploy.schema.worker import Phase, WorkerReport, WorkerSpec
from modeldeploy.web.keys import Keyring


class Now(Struct, frozen=True, kw_only=True):
    """One moment of a worker; ``done`` of ``total`` counts ``unit``."""

    phase: Phase = "loading"
    stage: Stage = Stage.LOAD
    fraction: float = 0.0
    message: str = "starting"
    done: int = 0
    total: int = 0
    unit: str = ""
    device: str = ""
    dtype: str = ""
    problem: Problem | None = None

    @property
    def percent(self) -> float:
        """Of the whole deployment, 0 to 100."""
        return round(overall(self.stage, self.fraction), 1)


class WorkerState:
    """Made in the event loop. ``requests``, ``in_flight``, ``threads`` and ``keys`` are the loop's alone;
    ``now`` is replaced whole, so that any thread may read it; ``update`` may be called from any
    thread. ``busy_seconds`` tells how long there was a request for the model, ``reserved`` what
    more it may take of which memory, ``runs`` how it computes."""

    def __init__(self, spec: WorkerSpec) -> None:
        self.spec = spec
        self.now = Now()
        self.requests = 0
        self.in_flight = 0
        self.threads = Threads(count=spec.threads, why="those it was started with")
        self.keys = Keyring(spec.keys)
        self.busy_seconds: Callable[[], float] = float
        self.reserved: Callable[[], dict[str, int]] = dict
        self.runs: Callable[[], dict[str, str]] = dict
        self.ended = False
        self.listeners_seen_at = time.monotonic()
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._wake_pending = False
        self._listeners: set[asyncio.Event] = set()
        self._process = psutil.Process()
        self.started_at = self._process.create_time()

    def update(self, **changes: Any) -> None:
        """Change fields of ``now``; whoever listens is told in the loop."""
        with self._lock:
            self.now = replace(self.now, **changes)
            if self._wake_pending:
                return
            self._wake_pending = True
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        with self._lock:
            self._wake_pending = False
        for listener in self._listeners:
            listener.set()

    def end(self) -> None:
        """The process is about to go: streams of reports end."""
        self.ended = True
        self._wake()

    @contextlib.contextmanager
    def listening(self) -> Iterator[asyncio.Event]:
        """An event that is set at each change (the listener clears it)."""
        event = asyncio.Event()
        self._listeners.add(event)
        try:
            yield event
        finally:
            self._listeners.discard(event)

    async def settled(self, seconds: float) -> Now:
        """``now`` once loading is over either way, or as it is after ``seconds``."""
        if self.now.phase != "loading":
            return self.now
        deadline = time.monotonic() + seconds
        with self.listening() as changed:
            while self.now.phase == "loading" and (left := deadline - time.monotonic()) > 0:
                changed.clear()
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(changed.wait(), left)
        return self.now

    def memory(self) -> int:
        """Resident bytes."""
        return int(self._process.memory_info().rss)

    def report(self) -> WorkerReport:
        now = self.now
        return WorkerReport(
            deployment=self.spec.deployment,
            replica=self.spec.replica,
            pid=os.getpid(),
            start_time=self.started_at,
            phase=now.phase,
            stage=now.stage,
            fraction=now.fraction,
            message=now.message,
            done=now.done,
            total=now.total,
            unit=now.unit,
            device=now.device,
            dtype=now.dtype,
            memory_bytes=self.memory(),
            reserved=self.reserved(),
            requests=self.requests,
            in_flight=self.in_flight,
            busy_seconds=self.busy_seconds(),
            threads=self.threads,
            keys=self.keys.mark,
            runs=self.runs(),
            problem=now.problem,
        )
