"""``GET /openapi.json``: this deployment's own operations, made of the types that decode requests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from modeldeploy import __version__
from modeldeploy.worker.http.operations import Operation, Schema


def document(operations: Iterable[Operation], parts: dict[str, Schema], title: str) -> bytes:
    """OpenAPI 3.1 as JSON; ``parts`` are the named schemas that the operations refer to."""
    paths: dict[str, Any] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method] = one.item()
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": title, "version": __version__},
            "paths": paths,
            "components": {"schemas": parts},
        }
    )
