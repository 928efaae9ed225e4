"""Which route a request is for, and what HTTP asks around that: 404, 405, 406.

Starlette's own router names in ``Allow`` the methods of one route only and knows no ``Accept``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from modeldeploy.errors import MethodNotAllowed, NotAcceptable, NotFound
from modeldeploy.schema.tasks import TaskSchema
from modeldeploy.worker.http.exchange import Exchange, exchange_of

JSON = "application/json"
BINARY = "application/octet-stream"
EVENTS = "text/event-stream"
FORM = "multipart/form-data"

Handler = Callable[[Request], Awaitable[Response]]


class JsonRoute(Route):
    """A route that answers JSON, or one of the media types of ``also``: which of them, the handler
    knows (:func:`acceptable`) once it has read what is asked."""

    def __init__(
        self, path: str, handler: Handler, method: str = "GET", also: Sequence[str] = ()
    ) -> None:
        super().__init__(path, handler, methods=[method])
        self.handler = handler
        self.produces = (JSON, *also)


def produced(task: TaskSchema) -> tuple[str, ...]:
    """The media types, beside JSON, that a bare prediction of ``task`` may come in."""
    binary = (task.hf.binary,) if task.hf.binary else ()
    return (*binary, EVENTS) if task.hf.streamed else binary


class Routes:
    """An ASGI app of routes; the first that fits path and method answers."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = routes
        self._known: dict[tuple[str, str], Route] = {}  # by method and path, of paths without parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """
        Raises:
            NotFound, MethodNotAllowed, NotAcceptable, and whatever the route's handler raises.
        """
        route = self._known.get((scope["method"], scope["path"])) or self._find(scope)
        if isinstance(route, JsonRoute):
            acceptable(exchange_of(scope), *route.produces)
            response = await route.handler(Request(scope, receive, send))
            await response(scope, receive, send)
        else:
            await route.handle(scope, receive, send)

    def _find(self, scope: Scope) -> Route:
        for route in self._routes:
            match, found = route.matches(scope)
            if match is Match.FULL:
                scope.update(found)
                if not found["path_params"]:
                    self._known[scope["method"], scope["path"]] = route
                return route
        raise self._no_route(scope)

    def methods(self, scope: Scope) -> list[str]:
        """The methods that are answered on the request's path, sorted."""
        found: set[str] = set()
        for route in self._routes:
            if route.matches(scope)[0] is not Match.NONE:
                found |= route.methods or set()
        return sorted(found)

    def _no_route(self, scope: Scope) -> NotFound | MethodNotAllowed:
        method, path = scope["method"], scope["path"][:200]
        if allowed := self.methods(scope):
            error = MethodNotAllowed(f"{path} does not answer {method}", hint="see Allow")
            error.allow = allowed
            return error
        return NotFound(f"there is no {path}", hint="GET /info lists the endpoints")


def acceptable(exchange: Exchange, *kinds: str) -> str:
    """The first of ``kinds``, each of which the answer may come in, that the client accepts.

    Raises:
        NotAcceptable: it accepts none of them.
    """
    given = ",".join(value.decode("latin-1") for value in exchange.headers(b"accept"))
    if not given:
        return kinds[0]
    found = next((kind for kind in kinds if accepts(given, kind)), None)
    if found is None:
        raise NotAcceptable(
            f"the Accept header {given[:100]!r} leaves out {' and '.join(kinds)}",
            hint=f"accept {kinds[0]}, or send no Accept header",
        )
    return found


def accepts(header: str, kind: str) -> bool:
    """Whether a media type is acceptable by an ``Accept`` header (RFC 9110, 12.5.1): the most
    specific range that covers it decides, and a weight of 0 excludes."""
    best, weight = 0, 0.0
    for part in header.split(","):
        range_, *parameters = (piece.strip().lower() for piece in part.split(";"))
        specific = _specificity(range_, kind)
        if specific > best:
            best, weight = specific, _weight(parameters)
    return weight > 0 or not header.strip()


def _specificity(range_: str, kind: str) -> int:
    """3 for the type itself, 2 for ``type/*``, 1 for ``*/*``, 0 where it is another."""
    ranges = {kind: 3, f"{kind.partition('/')[0]}/*": 2, "*/*": 1, "*": 1}
    return ranges.get(range_, 0)


def _weight(parameters: Sequence[str]) -> float:
    for name, _, value in (one.partition("=") for one in parameters):
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 1.0
    return 1.0
