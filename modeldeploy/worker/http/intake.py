"""What came in as a body, for the dialects that take JSON, bare media and forms alike."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from fnmatch import fnmatchcase
from typing import Any

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from modeldeploy.errors import MalformedBody, UnsupportedMediaType
from modeldeploy.schema.tasks import TaskSchema
from modeldeploy.worker.http.exchange import Exchange
from modeldeploy.worker.http.requests import Asked, from_form, raw_input
from modeldeploy.worker.http.routing import FORM, JSON
from modeldeploy.worker.http.service import Service

_MOST_PARTS = 100

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
    return from_form(task, parts, limits.max_texts)


def _unsupported(kind: str, task: TaskSchema) -> UnsupportedMediaType:
    allowed = ", ".join((JSON, FORM, *task.media))
    return UnsupportedMediaType(
        f"the content type is {kind[:100]!r}" if kind else "there is no content type",
        hint=f"send one of: {allowed}",
    )


async def form_parts(exchange: Exchange, raw: bytes, limit: int) -> dict[str, Any]:
    """The parts of a form by their names: files as bytes, the others as texts, and a list of them
    where a name comes again."""

    async def whole() -> AsyncGenerator[bytes, None]:
        yield raw

    parser = MultiPartParser(
        Headers(raw=exchange.scope["headers"]),
        whole(),
        max_files=_MOST_PARTS,
        max_fields=_MOST_PARTS,
        max_part_size=limit,
    )
    parser.spool_max_size = limit  # it is in memory already
    try:
        form = await parser.parse()
    except (MultiPartException, UnicodeDecodeError, KeyError) as error:
        raise MalformedBody(f"the body is not a form: {error}") from error
    try:
        found: dict[str, list[str | bytes]] = {}
        for name, value in form.multi_items():
            part = await value.read() if isinstance(value, UploadFile) else value
            found.setdefault(name, []).append(part)
        return {name: parts if len(parts) > 1 else parts[0] for name, parts in found.items()}
    finally:
        await form.close()
