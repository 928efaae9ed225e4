"""The Hugging Face dialect: ``{"inputs", "parameters"}`` in, the task's bare output out.

As ``huggingface_hub.InferenceClient(model="http://127.0.0.1:8100")`` sends and parses it
(huggingface_hub ``inference/_providers/hf_inference.py``).
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import astuple
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from modeldeploy.errors import ModelDeployError
from modeldeploy.worker import intake
from modeldeploy.worker.answers import json_answer
from modeldeploy.worker.exchange import Exchange, exchange_of
from modeldeploy.worker.requests import Asked, parse_hf
from modeldeploy.worker.service import Service


class HfError(Struct, frozen=True, kw_only=True):
    """``error`` is what huggingface_hub's client shows; the rest is for programs."""

    error: str
    error_type: str
    hint: str
    request_id: str


class HuggingFace:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._hf = service.task.hf

    def routes(self) -> list[Route]:
        return [
            Route("/", self._predict, methods=["POST"]),
            Route("/", _to_the_docs, methods=["GET"]),
        ]

    def speaks(self, path: str) -> bool:
        return path == "/"

    def error(self, error: ModelDeployError, request_id: str) -> Response:
        body = HfError(
            error=error.message, error_type=error.code, hint=error.hint, request_id=request_id
        )
        return json_answer(body, error.status)

    async def _predict(self, request: Request) -> Response:
        exchange = exchange_of(request.scope)
        with self._service.admitted(exchange):
            return await self.answer(
                await intake.asked(self._service, exchange, parse_hf), exchange
            )

    async def answer(self, asked: Asked, exchange: Exchange) -> Response:
        """The bare output for what was asked."""
        results = await self._service.predict(asked.inputs, asked.parameters, exchange)
        if self._hf.binary and not asked.many:
            return Response(astuple(results[0])[0], media_type=self._hf.binary)
        return await self._service.aside(len(results), json_answer, self._shaped(results, asked))

    def _shaped(self, results: list[Any], asked: Asked) -> Any:
        if asked.many or self._hf.listed:
            return results
        return results[0]


async def _to_the_docs(request: Request) -> Response:
    return RedirectResponse("docs")
