"""One connection of uvicorn's, with the bounds that uvicorn has not: on what it may wait for, and on what
is kept of a client that asks on and on or does not read."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol, runtime_checkable

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from modeldeploy.transport import is_ours

HEAD_SECONDS = 15.0
MAX_HEAD_BYTES = 64 * 1024
STALL_SECONDS = 60.0
MOST_PIPELINED = 64


@runtime_checkable
class Refuses(Protocol):
    """An app that has its own answer to what is no request of HTTP."""

    def refusal(self, message: str) -> Response: ...


class TooManyRequests(Exception):
    """One client asks on and on without waiting for its answers."""


class Connection(HttpToolsProtocol):
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
        self._unset_keepalive_if_required()
        self._parse(data)
        if self.transport.is_closing():
            return
        if self._timer is None and (self._in_head or self._is_idle()):
            self._await_head()
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES:
            self.send_400_response("The request's head is too large.")
        elif self._framing_bytes > MAX_HEAD_BYTES + len(data):
            self.send_400_response("The framing of the request's body is too large.")

    def _parse(self, data: bytes) -> None:
        """As uvicorn does, but that who asks for another protocol (``Upgrade``) is answered as if he had
        not: a server may ignore that (RFC 9110, 7.8). The parser stops behind such a head, and takes the
        body for what is not HTTP any more; so another one begins there, with a head that does not ask."""
        while data:
            try:
                self.parser.feed_data(data)
            except HttpParserError:
                self.logger.warning("what came is not HTTP")
                self.send_400_response("Invalid HTTP request received.")
            except HttpParserUpgrade as upgrade:
                if self.parser.get_method() == b"CONNECT":
                    self.send_400_response("This is no proxy.")
                    return
                data = self._head_without_upgrade() + data[upgrade.args[0] :]
                self.parser = HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
                continue
            return

    def _head_without_upgrade(self) -> bytes:
        """The head that was parsed last."""
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
        lines += [b"%s: %s" % one for one in self.headers if one[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

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
        if self.parser.should_upgrade():
            return  # it comes again
        if len(self.pipeline) >= MOST_PIPELINED:
            raise TooManyRequests  # which the parser makes a bad request of
        super().on_headers_complete()
        if self.pipeline:
            self.flow.resume_reading()  # else nobody learns that the client has left

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answered = cycle
        if cycle.scope["http_version"] == "1.0":
            app = _ended_by_closing(cycle, app)
        super()._start_asgi_task(cycle, app)

    def on_chunk_header(self) -> None:
        self._framing_bytes = 0

    def on_body(self, body: bytes) -> None:
        self._framing_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._framing_bytes = 0
        if self.parser.should_upgrade():
            return
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


def _ended_by_closing(cycle: RequestResponseCycle, app: ASGIApp) -> ASGIApp:
    """An answer of unknown length for a client that knows no chunks: HTTP/1.0 has it end with the
    connection (RFC 9112, 6.3), which uvicorn closes then."""

    async def ended_by_closing(scope: Scope, receive: Receive, send: Send) -> None:
        is_sized = True

        async def framed(message: Message) -> None:
            nonlocal is_sized
            if message["type"] == "http.response.start":
                names = {name.lower() for name, _ in message["headers"]}
                is_sized = b"content-length" in names
                if not is_sized:
                    cycle.chunked_encoding = False
            elif not is_sized:
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await app(scope, receive, framed)

    return ended_by_closing


class PrivateConnection(Connection):
    """Hears only processes of the same user, and root's."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn narrows it too
        if not is_ours(transport.get_extra_info("socket")):
            transport.abort()
            return
        super().connection_made(transport)
