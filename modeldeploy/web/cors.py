"""Pages of other origins: what a browser must be told before it lets them ask here.

Only origins that the deployment lists are told anything (Fetch standard, 3.3: CORS protocol); no
credentials are spoken of, because none are used.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from starlette.responses import Response

from modeldeploy.web.incoming import Incoming

_SEEN_BY_PAGES = (
    b"x-request-id, x-inference-time-ms, x-queue-time-ms, retry-after, x-queue-depth, "
    b"x-queue-position, inference-header-content-length"
)
_SENT_BY_PAGES = (
    "accept",
    "authorization",
    "content-type",
    "inference-header-content-length",
    "x-api-key",
    "x-request-id",
)
# What clients send of themselves, OpenAI's in JavaScript above all: it is not read here.
_ALSO_SENT = re.compile(
    r"(?:x-stainless|openai)-[a-z0-9-]{1,64}|user-agent|idempotency-key|x-requested-with"
)
_REMEMBERED_SECONDS = "600"


def origin_of(request: Incoming, allowed: frozenset[str]) -> str | None:
    """The request's origin, if it is one of ``allowed``."""
    given = request.headers(b"origin")
    origin = given[0].decode("latin-1").lower() if len(given) == 1 else ""
    return origin if origin in allowed else None


def headers(request: Incoming, allowed: frozenset[str]) -> list[tuple[bytes, bytes]]:
    """What every answer carries where pages of ``allowed`` origins may ask."""
    if not allowed:
        return []
    vary = (b"vary", b"origin")
    origin = origin_of(request, allowed)
    if origin is None:
        return [vary]
    return [
        vary,
        (b"access-control-allow-origin", request.headers(b"origin")[0]),
        (b"access-control-expose-headers", _SEEN_BY_PAGES),
    ]


def preflight(methods: Sequence[str], request: Incoming) -> Response:
    """The answer to a browser that asks, for an allowed origin, what it may send."""
    asked = b",".join(request.headers(b"access-control-request-headers")).decode("latin-1")
    names = (name.strip().lower() for name in asked.split(","))
    sent = dict.fromkeys([*_SENT_BY_PAGES, *filter(_ALSO_SENT.fullmatch, names)])
    return Response(
        status_code=204,
        headers={
            "allow": ", ".join(methods),
            "access-control-allow-methods": ", ".join(methods),
            "access-control-allow-headers": ", ".join(sent),
            "access-control-max-age": _REMEMBERED_SECONDS,
        },
    )
