"""``GET /docs``: Swagger UI, every byte of it from this machine (the package ``swagger-ui-py``)."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

from modeldeploy.web.answers import unless_known

_ASSETS = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")
_STYLE, _SCRIPT, _ICON = (f"docs/{name}" for name in _ASSETS)
# What the page may do: load itself, and ask the server that it came from.
_POLICY = (
    "default-src 'none'; connect-src 'self'; font-src 'self' data:; img-src 'self' data:; "
    "script-src 'self'; style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_START = "docs/start.js"
# Swagger UI knows no dark: its colours are turned, and turned back where they are dark by themselves.
_DARK = """@media (prefers-color-scheme: dark) {
  html { background: #151715; color-scheme: dark; }
  body { filter: invert(0.91) hue-rotate(180deg); }
  .swagger-ui .microlight, .swagger-ui .highlight-code { filter: invert(1) hue-rotate(180deg); }
}"""
_PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>modeldeploy</title>
<link rel="stylesheet" href="{_STYLE}">
<link rel="icon" href="{_ICON}">
<style>{_DARK}</style>
</head>
<body>
<div id="swagger-ui"></div>
<script src="{_SCRIPT}"></script>
<script src="{_START}"></script>
</body>
</html>
"""
# Below a path of the gateway, that is where the paths of a deployment's own document begin.
_START_SCRIPT = """const MANY = 20; // operations: closed at first, and to be searched
const root = location.pathname.replace(/\\/docs$/, "");
fetch("openapi.json").then((answer) => answer.json()).then((spec) => {
  const isLong = Object.keys(spec.paths).length > MANY;
  SwaggerUIBundle({
    dom_id: "#swagger-ui",
    deepLinking: true,
    tryItOutEnabled: true,
    filter: isLong,
    docExpansion: isLong ? "none" : "list",
    spec: root ? {...spec, servers: [{url: root}]} : spec,
  });
});
"""


def routes() -> list[Route]:
    """The page and its assets."""
    return [
        Route("/docs", _page, methods=["GET"]),
        Route(f"/{_START}", _start, methods=["GET"]),
        *(Route(f"/docs/{name}", _asset, methods=["GET"]) for name in _ASSETS),
    ]


async def _page(request: Request) -> Response:
    return HTMLResponse(_PAGE, headers={"content-security-policy": _POLICY})


async def _start(request: Request) -> Response:
    return Response(_START_SCRIPT, media_type="text/javascript")


async def _asset(request: Request) -> Response:
    name = request.url.path.rpartition("/")[2]  # one of _ASSETS: nothing else is routed here
    file = _folder() / name
    whole = FileResponse(
        file,
        headers={"cache-control": "max-age=3600"},
        stat_result=await asyncio.to_thread(file.stat),
    )
    return unless_known(request, whole)


def _folder() -> Path:
    found = importlib.util.find_spec("swagger_ui")  # located, not imported: it brings jinja2
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "static"
