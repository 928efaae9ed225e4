"""One file per dialect: a thin translation between its JSON and the task schema."""

from __future__ import annotations

import importlib
from typing import Protocol

from starlette.responses import Response
from starlette.routing import Route

from modeldeploy.errors import ModelDeployError
from modeldeploy.worker.service import Service

DIALECTS: dict[str, str] = {
    "openai": "modeldeploy.worker.dialects.openai:OpenAI",
    "huggingface": "modeldeploy.worker.dialects.huggingface:HuggingFace",
    "native": "modeldeploy.worker.dialects.native:Native",
}


class Dialect(Protocol):
    """Routes, and the shape of its errors."""

    def __init__(self, service: Service) -> None: ...

    def routes(self) -> list[Route]: ...

    def speaks(self, path: str) -> bool:
        """Whether errors on ``path`` are told in this dialect."""
        ...

    def error(self, error: ModelDeployError, request_id: str) -> Response:
        """An error in this dialect's shape, with its status and without further headers."""
        ...


def dialects(service: Service) -> list[Dialect]:
    """All of them; the first that speaks a path tells its errors."""
    made: list[Dialect] = []
    for place in DIALECTS.values():
        module, _, name = place.partition(":")
        kind: type[Dialect] = getattr(importlib.import_module(module), name)
        made.append(kind(service))
    return made
