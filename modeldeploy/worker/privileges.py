"""What a worker gives up before it reads a model; its children have it no more either."""

from __future__ import annotations

import contextlib
import ctypes
import resource
import sys

_SET_NO_NEW_PRIVS = 38  # prctl(2)


def give_up() -> None:
    """Programs with more rights than this user, and core dumps, in which requests would stand."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
