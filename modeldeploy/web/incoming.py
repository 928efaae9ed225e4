"""A request as it comes in: its name, its headers, the body within its limits, the client's leaving."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable
from functools import partial

from starlette.types import Receive, Scope

from modeldeploy.errors import BodyTooLarge, MalformedBody, SlowBody, UnsupportedMediaType
from modeldeploy.web.attending import Attending
from modeldeploy.web.room import Room

_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}\Z")
_BODY_SECONDS = 30.0
# The system's own numbers would cost a call of it, and with it Python's lock.
_numbers = random.Random()  # noqa: S311  # for names, not secrets
os.register_at_fork(after_in_child=_numbers.seed)


class ClientGone(Exception):
    """Nobody is there to be answered."""


class Incoming:
    """``request_id`` is the one that the client gave (``X-Request-Id``), or a fresh one; ``held`` are
    the bytes that it has brought, and that are here."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope = scope
        self.receive = receive
        self._headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            self._headers.setdefault(name, []).append(value)
        self.request_id = self._given_id() or f"{_numbers.getrandbits(64):016x}"
        self.held = 0
        self._pieces: list[bytes] = []

    def headers(self, name: bytes) -> list[bytes]:
        """The values of a header, which is named in lower case."""
        return self._headers.get(name, [])

    def _given_id(self) -> str | None:
        given = self.headers(b"x-request-id")
        return given[0].decode("ascii") if len(given) == 1 and _ID.match(given[0]) else None

    @property
    def media_type(self) -> str:
        """The content type without its parameters, in lower case; empty if there is none."""
        given = self.headers(b"content-type")
        return given[0].partition(b";")[0].strip().lower().decode("latin-1") if given else ""

    async def body(self, limit: int, room: Room | None = None) -> bytes:
        """The whole body, refused before it is buffered where it is too large, or on the way where there
        is no ``room`` for it.

        Raises:
            BodyTooLarge, SlowBody, MalformedBody, QueueFull, ClientGone; UnsupportedMediaType: it is
                packed.
        """
        for value in self.headers(b"content-encoding"):
            if value.strip().lower() not in {b"", b"identity"}:
                raise UnsupportedMediaType(
                    f"the body's content-encoding is {value[:100].decode('latin-1')!r}",
                    hint="send it as it is, not compressed",
                )
        self.check_length(limit)
        with body_deadline() as deadline:
            if room is None:
                return await self._receive_all(limit)
            room.comes(self, deadline)
            try:
                return await self._receive_all(limit, partial(room.take, self))
            finally:
                room.came(self)

    def forget(self) -> None:
        """Drop what is here of the body."""
        self._pieces = []

    def check_length(self, limit: int) -> None:
        """
        Raises:
            BodyTooLarge: by what its head says. MalformedBody: which is no number.
        """
        for value in self.headers(b"content-length"):
            if not value.isdigit():
                raise MalformedBody("content-length is not a number")
            if int(value) > limit:
                raise too_large(limit)

    async def _receive_all(
        self, limit: int, take: Callable[[int], None] = lambda count: None
    ) -> bytes:
        size = 0
        try:
            while True:
                message = await self.receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                piece: bytes = message.get("body", b"")
                size += len(piece)
                if size > limit:
                    raise too_large(limit)
                take(len(piece))
                self._pieces.append(piece)
                if not message.get("more_body", False):
                    return b"".join(self._pieces)
        finally:
            self.forget()

    async def gone(self) -> None:
        """Returns when the client has left. The body must have been read."""
        while (await self.receive())["type"] != "http.disconnect":
            pass


def body_deadline() -> Attending:
    """For as long as a client may take to send what is awaited within; then ``SlowBody``."""
    return Attending(_BODY_SECONDS, _too_slow)


def _too_slow() -> SlowBody:
    return SlowBody(
        f"the body did not arrive within {_BODY_SECONDS:.0f} seconds",
        hint="send it faster, or less of it",
    )


def too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body is larger than {limit} bytes", hint="send less in one request")
