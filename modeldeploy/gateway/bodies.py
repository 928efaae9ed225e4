"""Which model a request names: in a body of JSON, or in a form."""

from __future__ import annotations

import msgspec

from modeldeploy.errors import InvalidRequest, MalformedBody, QueueFull, UnsupportedMediaType
from modeldeploy.gateway.visit import Visit
from modeldeploy.web.forms import form_parts

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
        self._held = 0

    async def read(self, visit: Visit) -> tuple[bytes, str]:
        """The body, and the model that it names; :meth:`release` follows when it is passed on.

        Raises:
            QueueFull: those that are here hold too much already.
            UnsupportedMediaType, MalformedBody, InvalidRequest, BodyTooLarge, SlowBody; ClientGone.
        """
        kind = visit.media_type
        if kind not in {_JSON, _FORM}:
            raise UnsupportedMediaType(
                f"the content type is {kind[:100]!r}", hint=f"send {_JSON}, or {_FORM} with a file"
            )
        raw = await visit.body(self._limit, self._hold)
        if kind == _JSON:
            return raw, _of_json(raw)
        model = (await form_parts(visit, raw, self._limit)).get("model")
        if not isinstance(model, str):
            raise InvalidRequest("model: the form does not name one", hint="GET /v1/models")
        return raw, model

    def _hold(self, count: int) -> None:
        if self._held + count > _BODIES_HELD * self._limit:
            error = QueueFull(
                "the bodies of the requests that are here take too much memory",
                hint="try again after the seconds named in Retry-After",
            )
            error.retry_after = _RETRY_SECONDS
            raise error
        self._held += count

    def release(self, visit: Visit) -> None:
        self._held -= visit.held
        visit.held = 0


def _of_json(raw: bytes) -> str:
    try:
        return _named(raw).model
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"model: {error}", hint="GET /v1/models lists them") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedBody(f"the body is not JSON: {error}") from error
