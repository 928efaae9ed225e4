"""HTTP over a Unix socket, with the standard library's client."""

from __future__ import annotations

import http.client
import socket


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
