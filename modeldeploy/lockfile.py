"""The home's lock, which its supervisor holds for as long as it lives, and what it says there of itself."""

from __future__ import annotations

import contextlib
import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

_LONGEST = 64


@dataclass(frozen=True)
class Holder:
    """A supervisor. Its ``pid`` is 0 where it has not said yet who it is, and counts in its own pid
    ``namespace`` only: seen from another container it is somebody else's."""

    pid: int
    namespace: str = ""

    @property
    def is_near(self) -> bool:
        """Whether that pid is here what it is there."""
        return self.namespace in {"", pid_namespace()}


def introduction() -> bytes:
    """What this process writes into the lock that it holds."""
    return f"{os.getpid()} {pid_namespace()}\n".encode()


def holder(file: Path) -> Holder | None:
    """Who holds the lock, whether it answers or not."""
    try:
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        pid, _, namespace = os.pread(fd, _LONGEST, 0).decode("ascii", "replace").partition(" ")
        return Holder(int(pid) if pid.strip().isdigit() else 0, namespace.strip())
    finally:
        os.close(fd)
    return None


def pid_namespace() -> str:
    """Of this process; nothing where the system has none."""
    with contextlib.suppress(OSError):
        return str(Path("/proc/self/ns/pid").readlink())
    return ""
