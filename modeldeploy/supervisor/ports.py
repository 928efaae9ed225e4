"""Ports of the pool: reserved when a deployment is accepted, handed over listening.

A reservation is a socket that is bound, alone, and does not listen: nobody else gets the port, and
no client hangs on a listener that nobody serves. Once a worker is started both hold the same
listening socket, so that connections that come while a dead worker is being replaced wait in
one queue and none is lost. After the death of the supervisor itself the worker gives the next one
a copy of that socket; where it cannot, a fresh reservation is bound beside it (``SO_REUSEPORT``).
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Collection

from modeldeploy.errors import NoFreePort, PortTaken
from modeldeploy.supervisor.closing import admit_everybody, admit_nobody

BACKLOG = 2048
_REQUEST_BYTES = 1 << 20
_NOBODY = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\nconnection: close\r\n"
    b"content-type: application/json\r\ncontent-length: 112\r\n\r\n"
    b'{"status": "error", "error": {"code": "not_ready", "message": '
    b'"the deployment was stopped", "hint": "start it"}}'
)


def _socket(option: int, host: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, option, 1)
    return sock


def _exclusive(sock: socket.socket, host: str, port: int) -> socket.socket:
    """``sock`` bound so that nobody else can bind beside it: what helped it past connections that
    are fading away (``SO_REUSEADDR``), or beside our own worker (``SO_REUSEPORT``), is taken off."""
    try:
        sock.bind((host, port))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)
    except OSError:
        sock.close()
        raise
    return sock


def _claim(host: str, port: int) -> socket.socket:
    """A port that nobody has, neither listening nor only bound."""
    return _exclusive(_socket(socket.SO_REUSEADDR, host), host, port)


def _beside(host: str, port: int) -> socket.socket:
    """A port that a worker of ours listens on."""
    return _exclusive(_socket(socket.SO_REUSEPORT, host), host, port)


class Reservation:
    """One port that is ours. Not thread-safe; used in the supervisor's loop only."""

    def __init__(self, host: str, port: int, sock: socket.socket) -> None:
        self.host = host
        self.port = port
        self._sock = sock

    def listen(self) -> socket.socket:
        """Let new connections wait here until a worker takes them; the socket to hand to it."""
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):  # its connections inherit them
            self._sock.setsockopt(socket.SOL_SOCKET, option, 1)
        self._sock.listen(BACKLOG)
        return self._sock

    @property
    def has_a_queue(self) -> bool:
        """Whether clients can connect and wait here."""
        return bool(self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))

    def shut(self) -> None:
        """Admit nobody any more. Who has a copy of the socket finds in its queue what came before."""
        admit_nobody(self._sock)

    def refuse(self) -> None:
        """Keep the port, and admit nobody any more."""
        self.shut()
        listening, self._sock = self._sock, _beside(self.host, self.port)
        listening.close()

    def turn_away(self) -> None:
        """Answer those who wait here that nobody will serve them, and admit nobody any more. Not while
        a worker is ready: it would lose its clients to us. Clients of TLS get plain HTTP, an error to
        them as well."""
        self.shut()
        self._sock.setblocking(False)
        with contextlib.suppress(OSError):  # nobody is left, or we do not listen
            while True:
                visitor, _ = self._sock.accept()
                with visitor, contextlib.suppress(OSError):  # or has left
                    visitor.setblocking(False)
                    with contextlib.suppress(BlockingIOError):  # who has said nothing yet
                        visitor.recv(_REQUEST_BYTES)  # unread, it would make a reset of the answer
                    visitor.send(_NOBODY)

    def close(self) -> None:
        self._sock.close()


class PortPool:
    """Finds and reserves ports between ``low`` and ``high``, both included."""

    def __init__(self, low: int, high: int, host: str = "127.0.0.1") -> None:
        self.low, self.high, self.host = low, high, host

    def at(self, host: str) -> PortPool:
        """The same ports at another address."""
        return PortPool(self.low, self.high, host)

    def reserve(self, port: int) -> Reservation:
        """Exactly this port.

        Raises:
            PortTaken: somebody else has it.
        """
        try:
            return Reservation(self.host, port, _claim(self.host, port))
        except OSError as error:
            if error.errno == errno.EACCES:
                raise PortTaken(
                    f"port {port} needs rights that this user does not have",
                    hint="choose a port above 1023",
                ) from error
            if error.errno == errno.EADDRNOTAVAIL:
                raise PortTaken(
                    f"{self.host} is no address of this machine", hint="give one that is: --host"
                ) from error
            raise PortTaken(
                f"port {port} is taken by another program",
                hint="choose another with --port, or leave it out to take one from the pool",
            ) from error

    def reserve_any(self, preferred: int | None, remembered: Collection[int]) -> Reservation:
        """``preferred`` if it can be had, else a free port: if possible one that is not among
        ``remembered``, the ports that stopped deployments would like to have again.

        Raises:
            NoFreePort: the pool is empty.
        """
        pool = range(self.low, self.high + 1)
        unknown = [port for port in pool if port not in remembered]
        last = [port for port in pool if port in remembered]
        for port in [*([preferred] if preferred else []), *unknown, *last]:
            with contextlib.suppress(PortTaken):
                return self.reserve(port)
        raise NoFreePort(
            f"no free port between {self.low} and {self.high}",
            hint="remove a deployment (modeldeploy rm NAME), or widen MODELDEPLOY_PORT_RANGE "
            "and run modeldeploy daemon restart",
        )

    def readopt(self, port: int, listener: socket.socket | None) -> Reservation:
        """The reservation of a ``port`` that a live worker of ours listens on: the ``listener``
        that it gave us, or else a socket bound beside it.

        Raises:
            PortTaken: the port cannot be bound beside it.
        """
        if listener and listener.getsockname()[:2] == (self.host, port):
            admit_everybody(listener)
            return Reservation(self.host, port, listener)
        try:
            return Reservation(self.host, port, _beside(self.host, port))
        except OSError as error:
            raise PortTaken(f"port {port} cannot be reserved again ({error})") from error
