"""``/v1/audio/transcriptions``: a form with a sound file, its text out."""

from __future__ import annotations

from typing import Any

from starlette.responses import PlainTextResponse, Response

from modeldeploy.errors import InvalidRequest, UnsupportedMediaType
from modeldeploy.web.answers import json_answer
from modeldeploy.web.forms import form_parts
from modeldeploy.worker.dialects.openai_common import Handler
from modeldeploy.worker.http.exchange import Exchange
from modeldeploy.worker.http.routing import FORM

_FORMATS = ("json", "text")
_ZERO = frozenset({"", "0", "0.0"})
_KNOWN = frozenset({"file", "model", "language", "response_format", "temperature"})


class Transcriptions(Handler):
    path = "/v1/audio/transcriptions"
    also = ("text/plain",)
    ability = "transcriptions"

    async def respond(self, exchange: Exchange) -> Response:
        if exchange.media_type != FORM:
            raise UnsupportedMediaType(
                f"the content type is {exchange.media_type[:100]!r}",
                hint="send multipart/form-data with file and model",
            )
        raw = await self.service.body(exchange)
        parts = await form_parts(exchange, raw, self.service.limits.max_body_bytes)
        form = _checked(parts)
        self.check_model(parts["model"])
        self.check_acceptable(exchange, asked_other=form == "text")
        parameters = self.parameters(language=parts.get("language") or None)
        found = await self.service.predict([self.task.inputs(parts["file"])], parameters, exchange)
        text: str = found[0].text
        return PlainTextResponse(text) if form == "text" else json_answer({"text": text})


def _checked(parts: dict[str, Any]) -> str:
    """The form that the answer shall have.

    Raises:
        InvalidRequest: a part is missing, unknown, or not what we can do.
    """
    for name, value in parts.items():
        if name not in _KNOWN:
            raise InvalidRequest(f"{name}: this route does not take it")
        if not isinstance(value, bytes if name == "file" else str):
            raise InvalidRequest(f"{name}: it must come once, and only the sound is a file")
    if "file" not in parts:
        raise InvalidRequest("file: there is no sound file in the form")
    if "model" not in parts:
        raise InvalidRequest("model: the form does not name one")
    if parts.get("temperature", "0") not in _ZERO:
        raise InvalidRequest("temperature: only 0 is supported")
    form: str = parts.get("response_format", "json")
    if form not in _FORMATS:
        raise InvalidRequest(f"response_format: {form!r} is not one of {', '.join(_FORMATS)}")
    return form
