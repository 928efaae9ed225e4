"""What came in as a body, for the dialects that take JSON, bare media and forms alike."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase

from modeldeploy.errors import UnsupportedMediaType
from modeldeploy.schema.tasks import TaskSchema
from modeldeploy.web.forms import form_parts
from modeldeploy.worker.http.exchange import Exchange
from modeldeploy.worker.http.requests import Asked, from_form, raw_input
from modeldeploy.worker.http.routing import FORM, JSON
from modeldeploy.worker.http.service import Service

Parse = Callable[[TaskSchema, bytes, int], Asked]


async def asked(service: Service, exchange: Exchange, parse: Parse) -> Asked:
    """What the body asks for; one of JSON is given to ``parse``.

    Raises:
        UnsupportedMediaType, InvalidRequest, BodyTooLarge, SlowBody; ClientGone.
    """
    task, limits, kind = service.task, service.limits, exchange.media_type
    # Bytes without a content type, as huggingface_hub sends them, are the task's medium.
    is_media = any(fnmatchcase(kind or pattern, pattern) for pattern in task.media)
    if kind not in {JSON, FORM} and not is_media:
        raise _unsupported(kind, task)
    raw = await service.body(exchange)
    if kind == JSON:
        return await service.aside(len(raw), parse, task, raw, limits.max_texts)
    if is_media:
        return raw_input(task, raw)
    parts = await form_parts(exchange, raw, limits.max_body_bytes)
    return await service.aside(len(raw), from_form, task, parts, limits.max_texts)


def _unsupported(kind: str, task: TaskSchema) -> UnsupportedMediaType:
    allowed = ", ".join((JSON, FORM, *task.media))
    return UnsupportedMediaType(
        f"the content type is {kind[:100]!r}" if kind else "there is no content type",
        hint=f"send one of: {allowed}",
    )
