"""``/api/openapi.json``: the control API, documented by the types that decode it."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
from msgspec import Struct
from starlette.responses import Response

from modeldeploy import __version__
from modeldeploy.schema.control import (
    DaemonStatus,
    Defaults,
    EventsQuery,
    Fleet,
    LogLine,
    LogsQuery,
    RevokeQuery,
    ShutdownRequest,
)
from modeldeploy.schema.deployment import Deployment, DeployRequest, StartRequest
from modeldeploy.schema.events import Event
from modeldeploy.schema.keys import ApiKey, NewKey
from modeldeploy.schema.problem import Problem

_JSON, _LINES = "application/json", "application/x-ndjson"
_ONE = "/v1/deployments/{name}"
_NAME = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
_PLACES = (_NAME, {**_NAME, "name": "key"})

# Method, path, what it is, the body, the answer's status, type and media type, the query.
_Operation = tuple[str, str, str, Any, str, Any, str, type[Struct] | None]
OPERATIONS: tuple[_Operation, ...] = (
    ("get", "/v1/status", "The supervisor.", None, "200", DaemonStatus, _JSON, None),
    (
        "get",
        "/v1/watch",
        "All deployments, told anew at each change: a line each.",
        None,
        "200",
        Fleet,
        _LINES,
        None,
    ),
    ("get", "/v1/deployments", "Every deployment.", None, "200", list[Deployment], _JSON, None),
    ("post", "/v1/deployments", "Deploy a model.", DeployRequest, "201", Deployment, _JSON, None),
    ("get", _ONE, "One deployment.", None, "200", Deployment, _JSON, None),
    ("delete", _ONE, "Stop and forget it.", None, "202", Deployment, _JSON, None),
    ("post", f"{_ONE}/start", "Start it.", StartRequest, "202", Deployment, _JSON, None),
    ("post", f"{_ONE}/stop", "Stop it.", None, "202", Deployment, _JSON, None),
    ("post", f"{_ONE}/restart", "Begin a fresh run.", StartRequest, "202", Deployment, _JSON, None),
    (
        "get",
        f"{_ONE}/events",
        "Its progress: a line for each event.",
        None,
        "200",
        Event,
        _LINES,
        EventsQuery,
    ),
    (
        "get",
        f"{_ONE}/logs",
        "What its worker wrote: a line each.",
        None,
        "200",
        LogLine,
        _LINES,
        LogsQuery,
    ),
    ("get", f"{_ONE}/keys", "Its API keys.", None, "200", list[ApiKey], _JSON, None),
    ("post", f"{_ONE}/keys", "Have a key answered.", NewKey, "201", ApiKey, _JSON, None),
    (
        "delete",
        f"{_ONE}/keys/{{key}}",
        "Have a key answered no more.",
        None,
        "200",
        ApiKey,
        _JSON,
        RevokeQuery,
    ),
    (
        "get",
        "/defaults",
        "What a deploy request says that nobody chose otherwise.",
        None,
        "200",
        Defaults,
        _JSON,
        None,
    ),
    (
        "post",
        "/v1/shutdown",
        "End the supervisor.",
        ShutdownRequest,
        "202",
        DaemonStatus,
        _JSON,
        None,
    ),
)
_KINDS = (
    *(list[Deployment], DaemonStatus, Defaults, Fleet, DeployRequest, StartRequest, Event, LogLine),
    *(list[ApiKey], ApiKey, NewKey),
)


@cache
def document() -> bytes:
    """OpenAPI 3.1 as JSON."""
    kinds = [*_KINDS, ShutdownRequest, Problem]
    schemas, parts = msgspec.json.schema_components(
        kinds, ref_template="#/components/schemas/{name}"
    )
    of = dict(zip(map(repr, kinds), schemas, strict=True))
    of[repr(Deployment)] = {"$ref": "#/components/schemas/Deployment"}
    paths: dict[str, Any] = {}
    for method, path, summary, body, status, answer, media_type, query in OPERATIONS:
        words = "".join(c if c.isalnum() else " " for c in path).split()[1:]
        item: dict[str, Any] = {
            "summary": summary,
            "operationId": "_".join([method, *words]),
            "parameters": [
                *(one for one in _PLACES if f"{{{one['name']}}}" in path),
                *_parameters(query),
            ],
            "responses": {
                status: _content("It is done, or on its way.", of[repr(answer)], media_type),
                "default": _content("What went wrong.", of[repr(Problem)], _JSON),
            },
        }
        if body:
            content = {_JSON: {"schema": of[repr(body)]}}
            item["requestBody"] = {"required": body in {DeployRequest, NewKey}, "content": content}
        paths.setdefault(f"/api{path}", {})[method] = item
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "modeldeploy: the control API", "version": __version__},
            "security": [{"token": []}],
            "paths": paths,
            "components": {
                "schemas": parts,
                "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            },
        }
    )


def _parameters(query: type[Struct] | None) -> list[dict[str, Any]]:
    if query is None:
        return []
    (found,) = msgspec.json.schema(query)["$defs"].values()
    return [
        {"name": name, "in": "query", "schema": schema}
        for name, schema in found["properties"].items()
    ]


def _content(description: str, schema: Any, media_type: str) -> dict[str, Any]:
    return {"description": description, "content": {media_type: {"schema": schema}}}


def page() -> Response:
    return Response(document(), media_type=_JSON)
