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
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from modeldeploy import certificates
from modeldeploy.transport import is_ours

BACKLOG = 2048
KEEP_ALIVE_SECONDS = 75
HEAD_SECONDS = 15.0
MAX_HEAD_BYTES = 64 * 1024
STALL_SECONDS = 60.0
MOST_PIPELINED = 64
_LAST_WORDS_SECONDS = 0.05
_FIRST_WORDS_SECONDS = 1.0
MOVING_SECONDS = 3.0


@runtime_checkable
class Refuses(Protocol):
    """An app that has its own answer to what is no request of HTTP."""

    def refusal(self, message: str) -> Response: ...


class TooManyRequests(Exception):
    """One client asks on and on without waiting for its answers."""


class _Protocol(HttpToolsProtocol):
    """With deadlines for a request's head and for a client that does not read, and with sizes for all
    that a parser keeps; uvicorn has none of them."""

    _timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _in_head = True
    _framing_bytes = 0  # of a body, since the parser last told of something: not the body itself
    _stall: asyncio.TimerHandle | None = None
    _answered: RequestResponseCycle | None = None
    has_spoken = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn narrows it too
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        self._is_read()
        super().connection_lost(exc)
        if self._answered:  # uvicorn tells the last one that came; this may be one before it
            self._answered.disconnected = True
            self._answered.message_event.set()

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
        else:
            self._framing_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._timer is None and (self._in_head or self._is_idle()):
            self._await_head()
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES:
            self.send_400_response("The request's head is too large.")
        elif self._framing_bytes > MAX_HEAD_BYTES + len(data):
            self.send_400_response("The framing of the request's body is too large.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.has_spoken = True
        self._head_came()  # which it mostly has, whole: no timer is made for that
        self._in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # what comes behind a body (a trailer) is no header
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_came()
        if len(self.pipeline) >= MOST_PIPELINED:
            raise TooManyRequests  # which the parser makes a bad request of
        super().on_headers_complete()
        if self.pipeline:
            self.flow.resume_reading()  # else nobody learns that the client has left

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    def on_chunk_header(self) -> None:
        self._framing_bytes = 0

    def on_body(self, body: bytes) -> None:
        self._framing_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._framing_bytes = 0
        super().on_message_complete()
        if self._is_idle():  # it was answered before it was all here
            self._head_came()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._await_reading()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_reading()

    def resume_writing(self) -> None:
        if not self.transport.is_closing():
            self._is_read()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        app: Any = self.config.app
        if not isinstance(app, Refuses):
            super().send_400_response(msg)
            self._await_reading()
            return
        answer = app.refusal(msg)
        headers = [*answer.raw_headers, (b"connection", b"close")]
        lines = [name + b": " + value + b"\r\n" for name, value in headers]
        self.transport.write(b"".join([STATUS_LINE[400], *lines, b"\r\n", bytes(answer.body)]))
        self.timeout_keep_alive_handler()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._await_reading()  # a transport closes when all is sent

    def _is_idle(self) -> bool:
        """Nothing is being answered, and nothing says until when it waits for more."""
        answered = self.cycle is None or self.cycle.response_complete
        return answered and not self.pipeline and self.timeout_keep_alive_task is None

    def _await_head(self) -> None:
        """A head, or the rest of a body that was answered before it was all here."""
        self._in_head = self._in_head or self.cycle is None or not self.cycle.more_body
        self._timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _await_reading(self) -> None:
        """Cut the connection when nothing that waits to be sent was taken for a while."""
        if self._stall is None and (size := self.transport.get_write_buffer_size()):
            self._stall = self.loop.call_later(STALL_SECONDS, self._look, size)

    def _look(self, before: int) -> None:
        self._stall = None
        if self.transport.get_write_buffer_size() >= before:
            self.transport.abort()
        else:
            self._await_reading()

    def _is_read(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _head_came(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self.timeout_keep_alive_handler()


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
