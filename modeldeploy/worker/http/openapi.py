"""``GET /openapi.json``: this deployment's own operations, made of the types that decode requests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from modeldeploy import __version__
from modeldeploy.web.keys import OPEN
from modeldeploy.worker.http.operations import Operation, Schema

_KEYS = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}
_ANY_OF_THEM: list[dict[str, list[str]]] = [{name: []} for name in _KEYS]


def document(
    operations: Iterable[Operation], parts: dict[str, Schema], title: str, *, keyed: bool = False
) -> bytes:
    """OpenAPI 3.1 as JSON; ``parts`` are the named schemas that the operations refer to, ``keyed``
    says whether API keys are wanted."""
    paths: dict[str, Any] = {}
    for one in operations:
        item = one.item()
        if keyed:
            item["security"] = [] if one.path in OPEN else _ANY_OF_THEM
        paths.setdefault(one.path, {})[one.method] = item
    components: dict[str, Any] = {"schemas": parts}
    if keyed:
        components["securitySchemes"] = _KEYS
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": title, "version": __version__},
            "paths": paths,
            "components": components,
        }
    )
