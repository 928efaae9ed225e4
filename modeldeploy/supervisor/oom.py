"""Whether a worker was killed for want of memory: the kernel counts such kills, and names nobody.

It counts them by control group. That of the worker is read, where its file is found here, and else the
whole machine's count. Only a kill since the worker's last sign of life may be its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from modeldeploy.supervisor import processes
from modeldeploy.supervisor.processes import Identity

_PROC, _GROUPS = Path("/proc"), Path("/sys/fs/cgroup")


class OomKills:
    """Looked at for one worker, at its start and at each of its reports."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._file = _file(identity.pid)
        self._before = _count(self._file)

    def look(self) -> None:
        """It lived until now. A report may be read only when its sender is dead: that one tells nothing."""
        file = _file(self._identity.pid)
        before = _count(file)
        if processes.is_alive(self._identity):
            self._file, self._before = file, before

    def why(self) -> str:
        """What to say of one that was killed."""
        if _count(self._file) <= self._before:
            return ""
        return "probably out of memory" if self._file == _machine() else "out of memory"


def _machine() -> Path:
    return _PROC / "vmstat"


def _file(pid: int) -> Path:
    return next((one for one in _of_groups(pid) if one.exists()), _machine())


def _of_groups(pid: int) -> Iterator[Path]:
    """Version 1 and version 2 (cgroups(7)); version 2 counts those of the group alone in ``.local``."""
    with contextlib.suppress(OSError):
        for line in (_PROC / str(pid) / "cgroup").read_text("utf-8", "replace").splitlines():
            _, controllers, path = line.split(":", 2)
            if "memory" in controllers.split(","):
                yield _GROUPS / "memory" / path.lstrip("/") / "memory.oom_control"
            elif not controllers:
                yield _GROUPS / path.lstrip("/") / "memory.events.local"
                yield _GROUPS / path.lstrip("/") / "memory.events"


def _count(file: Path) -> int:
    """All these files have such a line; 0 where the kernel is too old, or has none."""
    with contextlib.suppress(OSError, ValueError):
        for line in file.read_text("ascii").splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    return 0
