"""A listening socket, given to the next supervisor: so that connections which come while its owner
is being replaced wait in its queue, whoever supervises by then."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path

from modeldeploy.transport import is_ours, private_listener


def offer(listener: socket.socket, path: Path, on_given: Callable[[], None] = lambda: None) -> None:
    """From now on, whoever connects to ``path`` gets a copy of ``listener`` (``SCM_RIGHTS``), or
    nothing once it is closed. Called in the event loop, where ``on_given`` hears of it."""
    door = private_listener(path)
    door.setblocking(False)
    asyncio.get_running_loop().add_reader(door, _give, door, listener, on_given)


def _give(door: socket.socket, listener: socket.socket, on_given: Callable[[], None]) -> None:
    with contextlib.suppress(OSError):  # the visitor has left, or the listener is closed
        visitor, _ = door.accept()
        with visitor:
            if not is_ours(visitor):
                return
            socket.send_fds(visitor, [b"."], [listener.fileno()])
        on_given()
