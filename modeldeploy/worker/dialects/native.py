"""The product's own dialect: ``POST /predict``, an envelope around the task's output."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from modeldeploy.errors import ModelDeployError
from modeldeploy.schema.problem import Problem
from modeldeploy.worker import intake
from modeldeploy.worker.answers import json_answer
from modeldeploy.worker.dialects.huggingface import HuggingFace
from modeldeploy.worker.exchange import exchange_of
from modeldeploy.worker.requests import is_hf, parse, parse_hf
from modeldeploy.worker.service import Service


class Success(Struct, frozen=True, kw_only=True):
    status: str = "success"
    result: Any
    deployment_id: str
    inference_time_ms: float


class Failure(Struct, frozen=True, kw_only=True):
    status: str = "error"
    error: Problem
    deployment_id: str
    request_id: str


class Native:
    """A body that has ``inputs`` is of the Hugging Face dialect, and is answered in it."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._hf = HuggingFace(service)
        self._name = service.state.spec.deployment

    def routes(self) -> list[Route]:
        return [Route("/predict", self._predict, methods=["POST"])]

    def speaks(self, path: str) -> bool:
        return True

    def error(self, error: ModelDeployError, request_id: str) -> Response:
        failure = Failure(error=error.problem(), deployment_id=self._name, request_id=request_id)
        return json_answer(failure, error.status)

    async def _predict(self, request: Request) -> Response:
        exchange = exchange_of(request.scope)

        def parse_either(task: Any, raw: bytes, most: int) -> Any:
            if is_hf(raw):
                exchange.dialect = self._hf
                return parse_hf(task, raw, most)
            return parse(task, raw, most)

        self._service.admit(exchange)
        asked = await intake.asked(self._service, exchange, parse_either)
        if exchange.dialect:
            return await self._hf.answer(asked, exchange)
        results = await self._service.predict(asked.inputs, asked.parameters, exchange)
        success = Success(
            result=results if asked.many else results[0],
            deployment_id=self._name,
            inference_time_ms=round(exchange.inference_ms, 3),
        )
        return await self._service.aside(len(results), json_answer, success)
