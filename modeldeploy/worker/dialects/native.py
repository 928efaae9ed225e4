"""The product's own dialect: ``POST /predict``, an envelope around the task's output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from modeldeploy.errors import ModelDeployError
from modeldeploy.schema.tasks import TaskSchema, answered, native_request
from modeldeploy.web.answers import json_answer
from modeldeploy.web.shapes import Failure
from modeldeploy.worker.dialects.huggingface import HuggingFace
from modeldeploy.worker.dialects.tokens import token_events
from modeldeploy.worker.http import intake
from modeldeploy.worker.http.exchange import Exchange, exchange_of
from modeldeploy.worker.http.operations import (
    About,
    Operation,
    Schema,
    answer,
    any_of,
    bodies,
    errors,
    events,
    media_bodies,
)
from modeldeploy.worker.http.requests import is_hf, parse, parse_hf
from modeldeploy.worker.http.routing import EVENTS, JSON, JsonRoute, acceptable, produced
from modeldeploy.worker.http.service import Service
from modeldeploy.worker.http.weight import weight


class Success(Struct, frozen=True, kw_only=True):
    status: str = "success"
    result: Any
    deployment_id: str
    inference_time_ms: float


class Native:
    """A body that has ``inputs`` is of the Hugging Face dialect, and is answered in it."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._hf = HuggingFace(service)
        self._name = service.state.spec.deployment

    @staticmethod
    def operations(about: About) -> list[Operation]:
        task, schemas = about.task, about.schemas
        success = schemas.of(Success)
        result = any_of([_result(one, about) for one in answered(task)])
        schemas.parts["Success"]["properties"]["result"] = result
        request = any_of([_request(one, about) for one in answered(task)])
        told = answer("The prediction.", success)
        if task.hf.streamed:
            told["content"][EVENTS] = events(schemas.of(task.hf.streamed))
        return [
            Operation(
                "post",
                "/predict",
                f"A prediction ({task.name}).",
                {"200": told, **errors(schemas.of(Failure))},
                {**bodies(request, task.example), **media_bodies(about)},
            )
        ]

    def routes(self) -> list[Route]:
        also = produced(self._service.task)  # a body that has `inputs` may ask for them
        return [JsonRoute("/predict", self._predict, "POST", also)]

    def speaks(self, path: str) -> bool:
        return True

    def error(self, error: ModelDeployError, request_id: str) -> Response:
        return json_answer(Failure.of(error, self._name, request_id), error.status)

    def _failure(self, exchange: Exchange) -> Callable[[ModelDeployError], Failure]:
        return lambda error: Failure.of(error, self._name, exchange.request_id)

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
        if asked.stream:
            return await token_events(self._service, asked, exchange, self._failure(exchange))
        acceptable(exchange, JSON)
        results = await self._service.predict(asked.inputs, asked.parameters, exchange)
        success = Success(
            result=results if asked.many else results[0],
            deployment_id=self._name,
            inference_time_ms=round(exchange.inference_ms, 3),
        )
        return await self._service.aside(weight(*results), json_answer, success)


def _request(task: TaskSchema, about: About) -> Schema:
    kind = native_request(task)
    request = about.schemas.of(kind)
    if task.many:
        _exactly_one(about.schemas.parts[kind.__name__], task.many, about.limits.max_texts)
    return request


def _result(task: TaskSchema, about: About) -> Schema:
    """For one input, or a list of them for several."""
    one = about.schemas.of(task.output)
    return {"anyOf": [one, {"type": "array", "items": one}]} if task.many else one


def _exactly_one(request: Schema, many: tuple[str, str], most: int) -> None:
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
