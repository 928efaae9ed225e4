"""The product's own dialect: ``POST /predict``, an envelope around the task's output."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from modeldeploy.errors import ModelDeployError, UnsupportedMediaType
from modeldeploy.schema.problem import Problem
from modeldeploy.worker.answers import json_answer
from modeldeploy.worker.exchange import Exchange, exchange_of
from modeldeploy.worker.requests import Asked, parse, raw_input
from modeldeploy.worker.service import Service

_JSON = "application/json"


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
    prefix = "/"

    def __init__(self, service: Service) -> None:
        self._service = service
        self._task = service.task
        self._name = service.state.spec.deployment

    def routes(self) -> list[Route]:
        return [Route("/predict", self._predict, methods=["POST"])]

    def error(self, error: ModelDeployError, request_id: str) -> Response:
        failure = Failure(error=error.problem(), deployment_id=self._name, request_id=request_id)
        return json_answer(failure, error.status)

    async def _predict(self, request: Request) -> Response:
        exchange = exchange_of(request.scope)
        with self._service.admitted(exchange):
            asked = await self._asked(exchange)
            results = await self._service.predict(asked.inputs, asked.parameters, exchange)
            success = Success(
                result=results if asked.many else results[0],
                deployment_id=self._name,
                inference_time_ms=round(exchange.inference_ms, 3),
            )
            return await self._service.aside(len(results), json_answer, success)

    async def _asked(self, exchange: Exchange) -> Asked:
        """
        Raises:
            UnsupportedMediaType, InvalidRequest
        """
        limits = self._service.limits
        kind = _media_type(exchange)
        if kind == _JSON:
            raw = await exchange.body(limits.max_body_bytes)
            return await self._service.aside(len(raw), parse, self._task, raw, limits.max_texts)
        if any(fnmatchcase(kind, pattern) for pattern in self._task.media):
            return raw_input(self._task, await exchange.body(limits.max_body_bytes))
        allowed = ", ".join((_JSON, *self._task.media))
        raise UnsupportedMediaType(
            f"the content type is {kind[:100]!r}" if kind else "there is no content type",
            hint=f"send one of: {allowed}",
        )


def _media_type(exchange: Exchange) -> str:
    given = exchange.headers(b"content-type")
    return given[0].partition(b";")[0].strip().lower().decode("latin-1") if given else ""
