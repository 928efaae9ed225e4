"""uvicorn, made to serve ready-made sockets, to leave signals to us and to end without cutting anybody off."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import select
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn

from modeldeploy import certificates
from modeldeploy.web.connections import Connection, PrivateConnection

BACKLOG = 2048
KEEP_ALIVE_SECONDS = 75
_LAST_WORDS_SECONDS = 0.05
_FIRST_WORDS_SECONDS = 1.0
MOVING_SECONDS = 3.0


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
        state, loop = self.server_state, asyncio.get_running_loop()
        until = loop.time() + _FIRST_WORDS_SECONDS
        while _somebody_waits(sockets or []) and loop.time() < until:  # noqa: ASYNC110  # the kernel tells of none
            await asyncio.sleep(0)  # libuv accepts one at each turn of the loop
        for server in self.servers:
            server.close()
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
            isinstance(connection, Connection) and not connection.has_spoken
            for connection in self.server_state.connections
        )


def _somebody_waits(listeners: list[socket.socket]) -> bool:
    """Whether a client has connected to one of them that nobody has accepted yet."""
    queues = select.poll()
    for listener in listeners:
        queues.register(listener, select.POLLIN)
    return bool(queues.poll(0))


def server(
    app: Any, drain_seconds: float, *, private: bool = False, pair: tuple[str, str] | None = None
) -> Server:
    """A server of ``app`` that answers for at most ``drain_seconds`` after it was told to end; a
    ``private`` one, on a Unix socket, hears nobody but this user; ``pair`` are the files of a
    certificate and its key, for TLS."""
    config = uvicorn.Config(
        app,
        http=PrivateConnection if private else Connection,
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
