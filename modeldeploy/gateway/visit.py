"""One request at the front door, and what is remembered of it until it is over."""

from __future__ import annotations

import time
from typing import Literal
from urllib.parse import unquote

from starlette.responses import Response
from starlette.types import Receive, Scope

from modeldeploy.errors import ModelDeployError, UnsupportedMediaType
from modeldeploy.web.answers import json_answer
from modeldeploy.web.incoming import Incoming
from modeldeploy.web.shapes import Failure, oip_error, openai_answer, told_beside

Route = Literal["deployments", "openai", "oip", "api", "pages"]

_DEPLOYMENTS = b"/deployments/"
_JSON = "application/json"


class Visit(Incoming):
    """``path`` is the path as it was sent, not decoded; ``origins`` are those of foreign pages that
    may make this request. ``deployment`` is the one that it goes to, once that is known."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        super().__init__(scope, receive)
        self.method: str = scope["method"]
        self.path: bytes = scope["raw_path"]
        self.route = _route(self.path)
        self.origins: frozenset[str] = frozenset()
        self.deployment: str | None = None
        self.started = time.monotonic()

    def target(self) -> tuple[str, bytes]:
        """Of a path to a deployment: its name, and the path there, empty without a slash."""
        name, slash, rest = self.path[len(_DEPLOYMENTS) :].partition(b"/")
        return unquote(name.decode("latin-1")), slash + rest

    async def json(self, limit: int) -> bytes:
        """The whole body, which is empty or JSON.

        Raises:
            UnsupportedMediaType: it does not say that it is; and as :meth:`body`.
        """
        raw = await self.body(limit)
        if raw and self.media_type != _JSON:
            raise UnsupportedMediaType(
                f"the content type is {self.media_type[:100]!r}", hint=f"send {_JSON}"
            )
        return raw

    def refusal(self, error: ModelDeployError) -> Response:
        """An error in the shape of the dialect that is spoken on this path."""
        path = self.target()[1] if self.route == "deployments" else self.path
        if _is_under(path, b"/v1"):
            response = openai_answer(error)
        elif _is_under(path, b"/v2"):
            response = json_answer(oip_error(error), error.status)
        elif self.route == "api":
            response = json_answer(error.problem(), error.status)
        else:
            failure = Failure.of(error, self.deployment, self.request_id)
            response = json_answer(failure, error.status)
        response.headers.update(told_beside(error))
        return response


def _route(path: bytes) -> Route:
    if path.startswith(_DEPLOYMENTS):
        return "deployments"
    if _is_under(path, b"/v1"):
        return "openai"
    if _is_under(path, b"/v2"):
        return "oip"
    return "api" if _is_under(path, b"/api") else "pages"


def _is_under(path: bytes, root: bytes) -> bool:
    return path == root or path.startswith(root + b"/")
