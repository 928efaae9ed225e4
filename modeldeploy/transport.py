"""Private Unix sockets: who listens on one, and HTTP over it with the standard library's client; and
what is reached over TCP from where."""

from __future__ import annotations

import contextlib
import errno
import http.client
import ipaddress
import os
import socket
import struct
from pathlib import Path
from urllib.parse import urlsplit

BACKLOG = 1024
# Where a process that is started is told of the socket, and of the pipes, that it inherits.
LISTEN_FD, LEASH_FD = "MODELDEPLOY_LISTEN_FD", "MODELDEPLOY_LEASH_FD"
PULSE_FD = "MODELDEPLOY_PULSE_FD"


def private_listener(path: Path) -> socket.socket:
    """A listening Unix socket at ``path``, 0600 whatever the umask; what lies there is removed.

    The caller must know that nobody serves ``path`` any more.
    """
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        sock.bind(str(path))
    finally:
        os.umask(before)
    sock.listen(BACKLOG)
    return sock


def is_ours(peer: socket.socket) -> bool:
    """Whether the other end of a Unix socket is a process of this user, or root's, whatever the
    modes of files say."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True  # macOS: the 0700 directory holds alone
    return _credentials(peer)[1] in {os.getuid(), 0}


def peer_pid(peer: socket.socket) -> int | None:
    """Which process is at the other end, or has begun to listen there; None where nobody tells."""
    return _credentials(peer)[0] if hasattr(socket, "SO_PEERCRED") else None


def _credentials(peer: socket.socket) -> tuple[int, int, int]:
    """The other end's pid, uid and gid."""
    raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, gid = struct.unpack("3i", raw)
    return pid, uid, gid


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what is bound to the address ``host``."""
    return ipaddress.ip_address(host).is_loopback


def connection_to(url: str, timeout: float | None = None) -> http.client.HTTPConnection:
    """``http.client`` to a deployment of this machine at ``url``. Its certificate is not checked: it may
    be for another name, and what is said does not leave the machine."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    if parts.scheme != "https":
        return http.client.HTTPConnection(host, port, timeout=timeout)
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)


class UnixConnection(http.client.HTTPConnection):
    """``http.client`` to a Unix socket at ``path``; ``timeout`` is in seconds, None waits. Nothing is
    said to a process of another user (PermissionError): a directory above may have been another's."""

    def __init__(self, path: str, timeout: float | None = None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(self.timeout)
            sock.connect(self._path)
            if not is_ours(sock):
                raise PermissionError(errno.EPERM, "whoever listens there is another user")
        except BaseException:  # whatever ended the connect, the socket must not leak
            sock.close()
            raise
        self.sock = sock
