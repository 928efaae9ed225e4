"""``GET /openapi.json``: one document over all deployments, made of their own.

Paths go below ``/deployments/{name}``, operations under a tag of that name, and the names of schemas
behind it, so that nothing of two deployments meets.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import aiohttp
import msgspec

from modeldeploy import __version__
from modeldeploy.gateway.roster import running
from modeldeploy.schema.deployment import Deployment

log = logging.getLogger(__name__)

Read = Callable[[str, str, float], Awaitable[bytes]]
_Schema = dict[str, Any]

_SECONDS = 5.0
_REFERS = "#/components/schemas/"
_SHARED = "all deployments"
_GATEWAY = "gateway"


class Documents:
    """``read`` gets a page of a deployment, which is asked once in each of its runs."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._known: dict[tuple[str, ...], _Schema] = {}

    async def merged(self, deployments: Iterable[Deployment]) -> bytes:
        """Of those that run, as JSON."""
        ready = running(deployments)
        found = await asyncio.gather(*(self._of(one) for one in ready))
        self._known = {_key(one): doc for one, doc in zip(ready, found, strict=True) if doc}
        return msgspec.json.encode(
            _whole([(one, doc) for one, doc in zip(ready, found, strict=True) if doc])
        )

    async def _of(self, deployment: Deployment) -> _Schema | None:
        if known := self._known.get(_key(deployment)):
            return known
        assert deployment.port is not None
        try:
            raw = await self._read(deployment.spec.url(deployment.port), "/openapi.json", _SECONDS)
            found: _Schema = msgspec.json.decode(raw)
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError, msgspec.DecodeError) as error:
            log.warning("%s tells nothing of itself: %r", deployment.name, error)
            return None
        return _placed(found, deployment.name)


def _key(deployment: Deployment) -> tuple[str, ...]:
    return (
        deployment.name,
        str(deployment.keys > 0),
        *(replica.id for replica in deployment.replicas),
    )


def _placed(document: _Schema, name: str) -> _Schema:
    """One deployment's document, where it stands among others."""
    found: _Schema = _renamed(document, f"{name}.")
    for item in found["paths"].values():
        for operation in item.values():
            operation["tags"] = [name]
            operation["operationId"] = f"{name}_{operation['operationId']}"
    parts = found["components"]["schemas"]
    found["components"]["schemas"] = {f"{name}.{part}": one for part, one in parts.items()}
    return found


def _renamed(value: Any, prefix: str) -> Any:
    """With every reference to a schema to the one behind ``prefix``."""
    if isinstance(value, dict):
        return {key: _renamed(one, prefix) for key, one in value.items()}
    if isinstance(value, list):
        return [_renamed(one, prefix) for one in value]
    if isinstance(value, str) and value.startswith(_REFERS):
        return _REFERS + prefix + value[len(_REFERS) :]
    return value


def _whole(documents: list[tuple[Deployment, _Schema]]) -> _Schema:
    paths: _Schema = {}
    parts: _Schema = {}
    schemes: _Schema = {}
    for deployment, document in documents:
        schemes.update(document["components"].get("securitySchemes", {}))
        parts.update(document["components"]["schemas"])
        for path, item in document["paths"].items():
            paths[f"/deployments/{deployment.name}{path}"] = item
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "modeldeploy",
            "version": __version__,
            "description": "Every deployment that runs. Choose an operation, then *Execute*.",
        },
        "tags": [
            *({"name": one.name, "description": _about(one)} for one, _ in documents),
            {"name": _SHARED, "description": "By the body's `model`, over all deployments."},
            {"name": _GATEWAY, "description": "The gateway itself."},
        ],
        "paths": {**paths, **_shared(documents), **_own()},
        "components": {"schemas": parts, **({"securitySchemes": schemes} if schemes else {})},
    }


def _about(deployment: Deployment) -> str:
    return f"{deployment.model_id} ({deployment.task})"


def _shared(documents: list[tuple[Deployment, _Schema]]) -> _Schema:
    """OpenAI's routes: each with the example of the first deployment that answers it."""
    found: _Schema = {}
    for _, document in documents:
        for path, item in document["paths"].items():
            if path.startswith("/v1/") and "post" in item and path not in found:
                operation = item["post"]
                name = operation["operationId"].partition("_")[2]
                found[path] = {"post": {**operation, "tags": [_SHARED], "operationId": name}}
    return found


def _own() -> _Schema:
    pages = {
        "/v1/models": ("The deployments, as OpenAI's clients list models.", _SHARED),
        "/health": ("Whether the gateway serves, and what there is.", _GATEWAY),
        "/metrics": ("Figures for Prometheus, of all deployments.", _GATEWAY),
    }
    return {
        path: {
            "get": {
                "summary": summary,
                "operationId": f"get{path.replace('/', '_')}",
                "tags": [tag],
                "responses": {"200": {"description": "It is told."}},
            }
        }
        for path, (summary, tag) in pages.items()
    }
