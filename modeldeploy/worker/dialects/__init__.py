"""One file per dialect: a thin translation between its JSON and the task schema."""

from __future__ import annotations

import importlib
from typing import Protocol

from starlette.responses import Response
from starlette.routing import Route

from modeldeploy.errors import ModelDeployError
from modeldeploy.worker.http.operations import About, Operation
from modeldeploy.worker.http.service import Service

DIALECTS: dict[str, str] = {
    "native": "modeldeploy.worker.dialects.native:Native",
    "huggingface": "modeldeploy.worker.dialects.huggingface:HuggingFace",
    "openai": "modeldeploy.worker.dialects.openai:OpenAI",
    "oip": "modeldeploy.worker.dialects.oip:OpenInference",
    "tei": "modeldeploy.worker.dialects.tei:TextEmbeddings",
}


class Dialect(Protocol):
    """Routes, what is documented of them, and the shape of its errors."""

    def __init__(self, service: Service) -> None: ...

    @staticmethod
    def operations(about: About) -> list[Operation]:
        """What a deployment answers in this dialect, the prediction first; empty where the task
        has no part in it."""
        ...

    def routes(self) -> list[Route]: ...

    def speaks(self, path: str) -> bool:
        """Whether errors on ``path`` are told in this dialect."""
        ...

    def error(self, error: ModelDeployError, request_id: str) -> Response:
        """An error in this dialect's shape, with its status and without further headers."""
        ...


def kinds() -> dict[str, type[Dialect]]:
    """Every dialect by its name; of those that speak a path, the last tells its errors."""
    return {name: _find(place) for name, place in DIALECTS.items()}


def _find(place: str) -> type[Dialect]:
    module, _, name = place.partition(":")
    found: type[Dialect] = getattr(importlib.import_module(module), name)
    return found
