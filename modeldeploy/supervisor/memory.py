"""How much memory a deployment takes, and its end where that is more than ``--memory`` allows.

It is watched from outside, because nothing else limits the right thing for an ordinary user in a
container: ``RLIMIT_AS`` counts weights that are mapped and address space that is only reserved,
``RLIMIT_DATA`` the thread stacks and arenas that nobody touched, and memory that forked workers share
in each of them; a control group would be exact, and is mostly not ours to make. What counts is what only
the process's end gives back: anonymous and shared memory, swapped out too, of which each process that
shares a page has its part (PSS). Files that are mapped, weights above all, do not count: the system
takes them back itself. Between two looks a process may take more than it is allowed.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from pathlib import Path

from modeldeploy.schema.problem import Problem
from modeldeploy.supervisor import processes
from modeldeploy.supervisor.processes import Identity

_LOOK_SECONDS = 0.2
_COUNTED = frozenset({"Pss_Anon", "Pss_Shmem", "SwapPss"})
_BOUNDS = frozenset({"RssAnon", "RssShmem", "VmSwap"})


class MemoryWatch:
    """Looks at one worker, and all it started, from a thread of its own until it is closed.
    ``taken`` is what it took, in bytes, when it was ended for it."""

    def __init__(self, identity: Identity, limit: int) -> None:
        self.taken: int | None = None
        self._identity = identity
        self._limit = limit
        self._closed = threading.Event()
        threading.Thread(target=self._look, name="memory-watch", daemon=True).start()

    def close(self) -> None:
        self._closed.set()

    def _look(self) -> None:
        while not self._closed.wait(_LOOK_SECONDS):
            if bound_bytes(self._identity.pid) <= self._limit:
                continue  # the exact figure takes the kernel milliseconds
            taken = taken_bytes(self._identity.pid)
            if taken > self._limit and processes.is_alive(self._identity):
                self.taken = taken
                processes.kill_group(self._identity)
                return

    def problem(self, taken: int) -> Problem:
        return Problem(
            code="out_of_memory",
            message=f"the worker was out of memory: it took {taken / 1e6:.0f} MB, and its limit is "
            f"{self._limit / 1e6:.0f} MB (--memory)",
            hint="deploy it with more, or with less at once: --max-batch-size, --max-batch-tokens",
        )


def taken_bytes(pid: int) -> int:
    """Of a process and all that it started; 0 when it is gone."""
    if sys.platform != "linux":
        return processes.memory_bytes(pid)
    return sum(_sizes(Path(f"/proc/{one}/smaps_rollup"), _COUNTED) for one in _family(pid))


def bound_bytes(pid: int) -> int:
    """What that is at most: pages that are shared count whole."""
    if sys.platform != "linux":
        return processes.memory_bytes(pid)
    return sum(_sizes(Path(f"/proc/{one}/status"), _BOUNDS) for one in _family(pid))


def _sizes(file: Path, names: frozenset[str]) -> int:
    """The sum of these lines of a file of sizes in kB, in bytes; 0 when the process is gone."""
    with contextlib.suppress(OSError):
        lines = (line.partition(":") for line in file.read_text("utf-8", "replace").splitlines())
        return sum(int(size.split()[0]) * 1024 for name, _, size in lines if name in names)
    return 0


def _family(pid: int) -> list[int]:
    """Itself and whatever descends from it."""
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):
            for children in Path(f"/proc/{one}/task").glob("*/children"):
                found += map(int, children.read_text("ascii").split())
    return found
