"""How much goes into a call of a model: what was measured before, or is now.

It is kept where graphs are, by the model, how it computes, its threads, versions and CPU, so that who is
started again, under load above all, need not time calls between those of requests. What was found while
others asked is used as well, until there is a calm moment to measure it in.
"""

from __future__ import annotations

import ctypes
import logging
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path

from msgspec.structs import replace

from modeldeploy.schema import tasks
from modeldeploy.worker import examples, notes
from modeldeploy.worker.batching.batcher import Batcher
from modeldeploy.worker.batching.curve import Found, Measuring, use
from modeldeploy.worker.forms import AnyAdapter
from modeldeploy.worker.state import WorkerState

log = logging.getLogger(__name__)

_CALM_SECONDS = _LOOK_SECONDS = 1.0
_PAUSE_SECONDS = 30.0  # until what was disturbed again is measured once more; then twice as long


class Calls:
    """Of an adapter whose requests wait in ``front``. Not used in the inference thread."""

    def __init__(self, state: WorkerState, adapter: AnyAdapter, front: Batcher) -> None:
        self._state, self._adapter, self._front = state, adapter, front
        self._one = threading.Lock()  # measures at a time
        self._threads = 0  # for which it is settled
        self._file_read: Path | None = None
        self._known: Found | None = None  # of that file

    def recall(self) -> Found | None:
        """Use what was measured before, if there is such.

        Raises:
            CancelledError: the deployment is ending.
        """
        if (file := self._file()) != self._file_read:
            self._file_read, self._known = file, notes.read(file, Found) if file else None
            if self._known:
                use(self._adapter, self._front, self._known)
                log.info("calls are %s", self._front.calls)
        return self._known

    def settle(self) -> None:
        """Use what was measured before in a calm moment, or where there is none now; else measure it.
        Where the model cannot be timed calls stay as they are.

        Raises:
            CancelledError: the deployment is ending.
        """
        with self._one:
            self._threads = self._front.threads
            known = self.recall()
            if known is None or (not known.calm and self._is_calm()):
                self._measure()

    def follow(self) -> None:
        """Settle anew whenever the model computes with another number of threads, and in the first calm
        moment what requests disturbed. Returns when the deployment ends.

        Raises:
            CancelledError: as it ends.
        """
        pause, again = _PAUSE_SECONDS, 0.0
        while not self._front.closing.wait(_LOOK_SECONDS):
            is_due = self._is_disturbed and time.monotonic() >= again
            if self._threads != self._front.threads or (is_due and self._is_calm()):
                self.settle()
                again, pause = time.monotonic() + pause, 2 * pause

    @property
    def _is_disturbed(self) -> bool:
        return self._known is not None and not self._known.calm

    def _measure(self) -> None:
        task = tasks.find(self._state.spec.task)
        assert task is not None
        file, busy = self._file(), self._front.busy_seconds
        try:
            example = examples.items(self._adapter, task)
            found = Measuring(self._adapter, self._front, example, self._wanted).run()
        except CancelledError:
            raise
        except Exception:  # a made-up text or the example may be too much for a model
            log.info("how much goes into a call could not be measured", exc_info=True)
            return
        _give_back()
        log.info("calls are %s", self._front.calls)
        is_calm = self._front.busy_seconds == busy  # requests meanwhile disturb what is measured
        if found and file and file == self._file():  # else it was of another number of threads
            self._known = replace(found, calm=is_calm)
            notes.write(file, self._known)

    def _is_calm(self) -> bool:
        """Whether nobody asks for a while."""
        busy = self._front.busy_seconds
        self._front.closing.wait(_CALM_SECONDS)
        return self._front.busy_seconds == busy

    def _wanted(self) -> bool:
        return self._state.now.phase not in {"draining", "failed"}

    def _file(self) -> Path | None:
        spec, model = self._state.spec, getattr(self._adapter, "model", None)
        if spec.graphs is None or model is None:
            return None
        from modeldeploy.worker.compute import graph_cache

        threads = self._front.between(lambda: self._front.threads).result()
        info, graph = self._adapter.info(), getattr(self._adapter, "graph", None)
        how = graph.stored.folder.name if graph else info.runs.get("weights", "")
        name = graph_cache.digest(
            spec.snapshots,
            spec.task,
            how,
            info.dtype,
            info.device,
            str(threads),
            info.runs.get("batches", ""),
        )
        return Path(spec.graphs) / f"calls-{name}.json"


def _give_back() -> None:
    """Have the allocator return what large calls took: who is not asked stays small."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # glibc's
        trim(0)
