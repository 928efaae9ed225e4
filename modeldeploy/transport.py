"""Private Unix sockets: who listens on one, and HTTP over it with the standard library's client."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import struct
from pathlib import Path

BACKLOG = 1024


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
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid = struct.unpack("3i", credentials)[1]
    return uid in {os.getuid(), 0}


class UnixConnection(http.client.HTTPConnection):
    """``http.client`` to a Unix socket at ``path``; ``timeout`` is in seconds, None waits."""

    def __init__(self, path: str, timeout: float | None = None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(self.timeout)
            sock.connect(self._path)
        except BaseException:  # whatever ended the connect, the socket must not leak
            sock.close()
            raise
        self.sock = sock
