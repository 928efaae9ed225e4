"""``/``: the dashboard. Its files know nothing of the deployments; what they show comes by ``/api``, for
which ``/session`` gives the browser a cookie and the page a key."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from modeldeploy.errors import MalformedBody
from modeldeploy.gateway.access import Access
from modeldeploy.gateway.visit import Visit
from modeldeploy.web.answers import json_answer, unless_known

FOLDER = Path(__file__).parent / "static"
# What the page may do: load its own files, ask the server that it came from, show what was dropped on it.
_POLICY = (
    "default-src 'none'; connect-src 'self'; img-src 'self' data: blob:; media-src data: blob:; "
    "script-src 'self'; style-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}
# Not by mimetypes: it asks the system's table, and a script of another type would not run.
_KINDS = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_MAX_BODY = 4096

Page = Callable[[Request], Awaitable[Response]]


class Ticket(Struct, frozen=True, forbid_unknown_fields=True):
    """``POST /session``: what ``modeldeploy dashboard`` put into its link."""

    ticket: Annotated[str, Meta(max_length=256)]


class Session(Struct, frozen=True, omit_defaults=True):
    """``GET /session``; where one has begun, with the half that the page keeps."""

    signed_in: bool
    key: str | None = None


def pages() -> dict[str, Page]:
    """The files of the page, by path."""
    files = {f"/dashboard/{file.name}": _page(file) for file in FOLDER.iterdir()}
    return {"/": files.pop("/dashboard/index.html"), **files}


def _page(file: Path) -> Page:
    """The file, which is small and kept. Browsers ask each time whether it is another, as it is after
    an update."""
    body = file.read_bytes()
    headers = {**_HEADERS, "etag": f'"{hashlib.sha256(body).hexdigest()[:32]}"'}

    async def page(request: Request) -> Response:
        whole = Response(body, media_type=_KINDS[file.suffix], headers=headers)
        return unless_known(request, whole)

    return page


async def session(access: Access, visit: Visit) -> Response:
    """Whether there is a session; or, for a ticket, its beginning; or its end.

    Raises:
        Unauthorized, Forbidden: as :class:`Access` says. MalformedBody, UnsupportedMediaType,
            BodyTooLarge.
    """
    if visit.method == "DELETE":
        return _unkept(json_answer(Session(signed_in=False)), access.end(visit))
    if visit.method != "POST":
        return _unkept(json_answer(Session(access.has_session(visit))))
    raw = await visit.json(_MAX_BODY)
    try:
        given = msgspec.json.decode(raw, type=Ticket)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedBody(f"the body is no ticket: {error}") from error
    begun = access.redeem(given.ticket, visit)
    return _unkept(json_answer(Session(signed_in=True, key=begun.key)), begun.cookie)


def _unkept(response: Response, cookie: str | None = None) -> Response:
    response.headers["cache-control"] = "no-store"
    if cookie:
        response.headers["set-cookie"] = cookie
    return response
