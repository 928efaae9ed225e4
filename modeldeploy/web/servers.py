"""uvicorn, made to serve ready-made sockets, to leave signals to us and to cut idlers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import uvicorn
from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from modeldeploy import certificates
from modeldeploy.transport import is_ours

BACKLOG = 2048
KEEP_ALIVE_SECONDS = 75
HEAD_SECONDS = 15.0
MAX_HEAD_BYTES = 64 * 1024
_LAST_WORDS_SECONDS = 0.05
_FIRST_WORDS_SECONDS = 1.0
MOVING_SECONDS = 3.0


@runtime_checkable
class Refuses(Protocol):
    """An app that has its own answer to what is no request of HTTP."""

    def refusal(self, message: str) -> Response: ...


class _Protocol(HttpToolsProtocol):
    """With a deadline and a size for a request's head; uvicorn has neither."""

    _timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _in_head = True
    has_spoken = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn narrows it too
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._timer is None:
            self._await_head()
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The request's head is too large.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.has_spoken = True
        self._head_came()  # which it mostly has, whole: no timer is made for that
        self._in_head = True

    def on_headers_complete(self) -> None:
        self._head_came()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        app: Any = self.config.app
        if not isinstance(app, Refuses):
            super().send_400_response(msg)
            return
        answer = app.refusal(msg)
        headers = [*answer.raw_headers, (b"connection", b"close")]
        lines = [name + b": " + value + b"\r\n" for name, value in headers]
        self.transport.write(b"".join([STATUS_LINE[400], *lines, b"\r\n", bytes(answer.body)]))
        self.transport.close()

    def _await_head(self) -> None:
        self._in_head = True
        self._timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _head_came(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


class _PeerChecked(_Protocol):
    """Hears only processes of the same user, and root's."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn narrows it too
        if not is_ours(transport.get_extra_info("socket")):
            transport.abort()
            return
        super().connection_made(transport)


class Server(uvicorn.Server):
    """Signals are ours; and what came in on an accepted connection is read before it is closed. Who has
    only just connected has a second to say what for."""

    _moving_seconds = 0.0

    def hand_over(self, seconds: float) -> None:
        """End because another process serves the socket from now on. What runs has ``seconds``, and
        connections are not cut for ``MOVING_SECONDS``: who asks again on one is answered, and told
        to open another."""
        self._moving_seconds = MOVING_SECONDS
        self.config.timeout_graceful_shutdown = round(seconds)
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        state, loop = self.server_state, asyncio.get_running_loop()
        state.default_headers = [*state.default_headers, (b"connection", b"close")]
        ends = loop.time() + self._moving_seconds
        await asyncio.sleep(_LAST_WORDS_SECONDS)
        for _ in range(round(_FIRST_WORDS_SECONDS / _LAST_WORDS_SECONDS)):
            if self._somebody_is_silent():
                await asyncio.sleep(_LAST_WORDS_SECONDS)
        while state.connections and loop.time() < ends:  # noqa: ASYNC110  # uvicorn tells of none
            await asyncio.sleep(_LAST_WORDS_SECONDS)
        await super().shutdown(sockets)

    def _somebody_is_silent(self) -> bool:
        return any(
            isinstance(connection, _Protocol) and not connection.has_spoken
            for connection in self.server_state.connections
        )


def server(
    app: Any, drain_seconds: float, *, private: bool = False, pair: tuple[str, str] | None = None
) -> Server:
    """A server of ``app`` that answers for at most ``drain_seconds`` after it was told to end; a
    ``private`` one, on a Unix socket, hears nobody but this user; ``pair`` are the files of a
    certificate and its key, for TLS."""
    config = uvicorn.Config(
        app,
        http=_PeerChecked if private else _Protocol,
        ws="none",
        loop="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, round(drain_seconds)),
        ssl_certfile=pair[0] if pair else None,
        ssl_keyfile=pair[1] if pair else None,
        ssl_ciphers=certificates.CIPHERS,
    )
    return Server(config)


def raise_file_limit() -> None:
    """As many connections as the system allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def inherited_socket(fd: int) -> socket.socket:
    """The listening socket that was left open for us; our children do not get it."""
    os.set_inheritable(fd, False)
    return socket.socket(fileno=fd)
