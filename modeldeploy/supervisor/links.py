"""The line from a worker to its supervisor: reports come one way over its private socket.

The same for a worker that was just started and for one that was found alive: whoever knows the
socket's path can listen.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import socket as sockets
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from modeldeploy.schema.keys import KeyOrder
from modeldeploy.schema.threads import Threads
from modeldeploy.schema.worker import WorkerReport
from modeldeploy.transport import UnixConnection, is_ours, peer_pid

_RETRY_SECONDS = 0.05
_REPLY_SECONDS = 5.0
_decode = msgspec.json.Decoder(WorkerReport).decode

_BROKEN = (OSError, http.client.HTTPException, msgspec.DecodeError)


class WorkerLink:
    """Listens to one worker's reports in a thread of its own, and connects again as often as
    needed until it is closed. ``on_report`` is called in the loop that made the link."""

    def __init__(self, socket: Path, on_report: Callable[[WorkerReport], None]) -> None:
        self._socket = str(socket)
        self._on_report = on_report
        self._loop = asyncio.get_running_loop()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="worker-link", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()

    def _listen(self) -> None:
        while not self._closed.is_set():
            try:
                self._stream()
            except _BROKEN:
                self._closed.wait(_RETRY_SECONDS)

    def _stream(self) -> None:
        connection = UnixConnection(self._socket, timeout=_REPLY_SECONDS)
        try:
            connection.request("GET", "/events")
            response = connection.getresponse()
            for line in response:
                if self._closed.is_set():
                    return
                self._deliver(_decode(line))
            raise http.client.IncompleteRead(b"")
        finally:
            connection.close()

    def _deliver(self, report: WorkerReport) -> None:
        try:
            self._loop.call_soon_threadsafe(self._on_report, report)
        except RuntimeError:  # the loop is closed: the supervisor is ending
            self._closed.set()


def ask_status(socket: Path) -> WorkerReport | None:
    """What a worker says of itself now, or None when nobody answers.

    Raises:
        msgspec.DecodeError: somebody answers, but not as this version's workers do.
    """
    connection = UnixConnection(str(socket), timeout=_REPLY_SECONDS)
    try:
        connection.request("GET", "/status")
        return _decode(connection.getresponse().read())
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def ask_pid(socket: Path) -> int | None:
    """Whose socket it is: the kernel tells, also of a process that answers nothing any more."""
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as door:
        door.settimeout(_REPLY_SECONDS)
        try:
            door.connect(str(socket))
        except OSError:
            return None
        pid = peer_pid(door)
    if pid is None:
        with contextlib.suppress(msgspec.DecodeError):
            report = ask_status(socket)
            return report.pid if report else None
    return pid


def ask_listener(handover: Path) -> sockets.socket | None:
    """A copy of the socket that a worker listens on, or None when it does not give it."""
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as door:
        door.settimeout(_REPLY_SECONDS)
        try:
            door.connect(str(handover))
            if not is_ours(door):
                return None
            _, fds, _, _ = sockets.recv_fds(door, 1, 1)
        except OSError:
            return None
    for fd in fds:
        os.set_inheritable(fd, False)
    return sockets.socket(fileno=fds[0]) if fds else None


def ask_drain(socket: Path) -> bool:
    """Ask a worker to answer what it has and end. Whether it heard."""
    return _order(socket, "POST", "/drain")


def order_threads(socket: Path, threads: Threads) -> bool:
    """Have a worker compute with so many. Whether it heard."""
    return _order(socket, "PUT", "/threads", msgspec.json.encode(threads))


def order_keys(socket: Path, digests: tuple[str, ...]) -> bool:
    """Have a worker answer these API keys and no others. Whether it does."""
    return _order(socket, "PUT", "/keys", msgspec.json.encode(KeyOrder(digests=digests)))


def _order(socket: Path, method: str, path: str, body: bytes | None = None) -> bool:
    connection = UnixConnection(str(socket), timeout=_REPLY_SECONDS)
    try:
        connection.request(method, path, body)
        return connection.getresponse().status < 300
    except _BROKEN:
        return False
    finally:
        connection.close()
