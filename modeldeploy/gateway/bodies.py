"""Which model a request names: in a body of JSON, or in a form."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import msgspec

from modeldeploy.errors import InvalidRequest, MalformedBody, UnsupportedMediaType
from modeldeploy.gateway.visit import Visit
from modeldeploy.web.forms import form_text
from modeldeploy.web.room import Room

_JSON, _FORM = "application/json", "multipart/form-data"
_BODIES_HELD = 8  # times the largest body
_RETRY_SECONDS = 5


class _Named(msgspec.Struct):
    model: str


_named = msgspec.json.Decoder(_Named).decode


class Bodies:
    """Reads whole bodies, and bounds what they take together; ``limit`` is of one, in bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.room = Room(_BODIES_HELD * limit, lambda: _RETRY_SECONDS)

    @contextlib.asynccontextmanager
    async def read(self, visit: Visit) -> AsyncIterator[tuple[bytes, str]]:
        """The body, and the model that it names; within, it counts.

        Raises:
            QueueFull: those that are here hold too much already.
            UnsupportedMediaType, MalformedBody, InvalidRequest, BodyTooLarge, SlowBody; ClientGone.
        """
        kind = visit.media_type
        if kind not in {_JSON, _FORM}:
            raise UnsupportedMediaType(
                f"the content type is {kind[:100]!r}", hint=f"send {_JSON}, or {_FORM} with a file"
            )
        try:
            raw = await visit.body(self._limit, self.room)
            yield raw, _of_json(raw) if kind == _JSON else await self._of_form(visit, raw)
        finally:
            self.room.leave(visit, visit.held)

    async def _of_form(self, visit: Visit, raw: bytes) -> str:
        self.room.take(visit, len(raw))  # its parts are copies, for as long as it is read
        try:
            model = await form_text(visit, raw, self._limit, "model")
        finally:
            self.room.leave(visit, len(raw))
        if model is None:
            raise InvalidRequest("model: the form does not name one", hint="GET /v1/models")
        return model


def _of_json(raw: bytes) -> str:
    try:
        return _named(raw).model
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"model: {error}", hint="GET /v1/models lists them") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedBody(f"the body is not JSON: {error}") from error
