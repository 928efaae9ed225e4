"""``GET /openapi.json``: this deployment's own task, made of the types that decode requests."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from modeldeploy import __version__
from modeldeploy.schema.tasks import TaskSchema, native_request
from modeldeploy.schema.worker import Limits
from modeldeploy.worker.answers import Healthy, Info, NotHealthy
from modeldeploy.worker.dialects.native import Failure, Success

_REF = "#/components/schemas/{name}"
_ERRORS = {
    "400": "The body is not JSON.",
    "403": "A foreign page sent it.",
    "408": "The body came too slowly.",
    "413": "The body is too large.",
    "415": "The content type is another.",
    "421": "It is addressed to another host.",
    "422": "The body is not what the schema asks for, or the model cannot take it.",
    "429": "Too many requests are waiting; see Retry-After.",
    "500": "The model failed on this input.",
    "503": "The model is not ready; see Retry-After.",
    "504": "It took too long.",
}


@cache
def document(task: TaskSchema, limits: Limits, title: str) -> bytes:
    """OpenAPI 3.1 as JSON."""
    types = [native_request(task), Success, Failure, Healthy, NotHealthy, Info, task.output]
    (request, success, failure, healthy, not_healthy, info, result), parts = (
        msgspec.json.schema_components(types, ref_template=_REF)
    )
    if task.many:
        result = {"anyOf": [result, {"type": "array", "items": result}]}
        _exactly_one(parts[native_request(task).__name__], task.many, limits.max_texts)
    parts["Success"]["properties"]["result"] = result
    content = {"application/json": {"schema": request, "example": task.example}}
    for media in task.media:
        content[media] = {"schema": {"type": "string", "format": "binary"}}
    answers = {
        "200": _json("The prediction.", success),
        **{status: _json(text, failure) for status, text in _ERRORS.items()},
    }
    health = {"200": _json("Healthy.", healthy), "503": _json("Not now.", not_healthy)}
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": title, "version": __version__},
            "paths": {
                "/predict": {
                    "post": {
                        "summary": f"Predict ({task.name}).",
                        "operationId": "predict",
                        "requestBody": {"required": True, "content": content},
                        "responses": answers,
                    }
                },
                "/health": _get("health", "Whether a prediction would be answered now.", health),
                "/readyz": _get("readyz", "The same.", health),
                "/livez": _get(
                    "livez", "Whether the process lives.", {"200": _json("It does.", {})}
                ),
                "/info": _get("info", "What is deployed here.", {"200": _json("This.", info)}),
            },
            "components": {"schemas": parts},
        }
    )


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _get(operation: str, summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    return {"get": {"operationId": operation, "summary": summary, "responses": responses}}


def _exactly_one(request: dict[str, Any], many: tuple[str, str], most: int) -> None:
    """Say of the singular and the plural field what msgspec's types cannot: one of them."""
    one, several = many
    properties = request["properties"]
    for option in properties[several]["anyOf"]:
        if option.get("type") == "array":
            option.update(minItems=1, maxItems=most)
    for name in many:
        properties[name].pop("default", None)
    request["oneOf"] = [
        {
            "required": [given],
            "properties": {given: {"not": {"type": "null"}}, absent: {"type": "null"}},
        }
        for given, absent in ((one, several), (several, one))
    ]
