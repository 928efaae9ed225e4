"""What this process may have of the machine: all of it, or its container's part.

A control group has bounds of its own, and so has each above it, up to the one that is seen as the
topmost (cgroups(7), version 2 and version 1). Of memory, what files' contents take that can be
dropped counts as used there, and is free for whoever asks.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

import psutil

_GROUPS, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
# Files of memory: the bound, what is used, and what of it can be dropped, by its name in memory.stat.
_MEMORY = {
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def memory_total() -> int:
    """Bytes of memory that this process may ever have."""
    return min([psutil.virtual_memory().total, *(bound for bound, _ in _memory())])


def memory_available() -> int:
    """Bytes of memory that it may have now, without others losing theirs."""
    free = [max(0, bound - used) for bound, used in _memory()]
    return min([psutil.virtual_memory().available, *free])


def own_bytes() -> int:
    """Bytes of memory that this process alone has."""
    return int(psutil.Process().memory_full_info().uss)


def cores() -> int:
    """How many processors it may run on, or keep busy all the time."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    return max(1, min([count, *(math.ceil(share) for share in _shares())]))


def _memory() -> Iterator[tuple[int, int]]:
    """The bound of each group that has one, and what is used there for good."""
    for controller, (bound, used, droppable) in _MEMORY.items():
        for folder in _folders(controller):
            most = _number(folder / bound)
            if most is not None:
                held = (_number(folder / used) or 0) - _line(folder / "memory.stat", droppable)
                yield most, max(0, held)


def _shares() -> Iterator[float]:
    """Processors' time for each second, of each group that has such a bound."""
    for folder in _folders(""):
        quota, period = (*_words(folder / "cpu.max"), "", "")[:2]
        if quota.isdecimal() and period.isdecimal():
            yield int(quota) / int(period)
    for folder in _folders("cpu"):
        spent, each = (_number(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
        if spent and each:
            yield spent / each


def _folders(controller: str) -> Iterator[Path]:
    """Of its own control group and those above; version 2 has no name for the controller. In a
    container its own may be seen as the topmost, whatever the path is called outside."""
    root = _GROUPS / controller
    with contextlib.suppress(OSError):
        for line in _OWN.read_text("utf-8", "replace").splitlines():
            _, names, path = line.split(":", 2)
            if controller in names.split(","):
                own = root / path.lstrip("/")
                yield from (one for one in (own, *own.parents) if root in one.parents)
    yield root


def _number(file: Path) -> int | None:
    """None where it has none: there is no such file, or it says that there is no bound."""
    (found, *_) = (*_words(file), "")
    return int(found) if found.isdecimal() else None


def _words(file: Path) -> list[str]:
    try:
        return file.read_text("ascii").split()
    except (OSError, ValueError):
        return []


def _line(file: Path, name: str) -> int:
    words = _words(file)
    pairs = dict(zip(words[::2], words[1::2], strict=False))
    return int(pairs.get(name, 0))
