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

from modeldeploy.errors import InvalidRequest, ModelDeployError, NotReady, QueueFull
from modeldeploy.schema.problem import Crowd
from modeldeploy.schema.tasks import TaskSchema, answered, hf_input, hf_parameters
from modeldeploy.web.answers import json_answer
from modeldeploy.web.shapes import crowd_of
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
from modeldeploy.worker.http.requests import Asked, parse_hf
from modeldeploy.worker.http.routing import EVENTS, JSON, JsonRoute, acceptable, produced
from modeldeploy.worker.http.service import Service
from modeldeploy.worker.http.weight import weight


class HfError(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``error`` is what huggingface_hub's client shows and ``error_type`` what it chooses an
    exception by (``inference/_common.py``); ``code`` is our own, stable one, ``queue`` comes with 429."""

    error: str
    error_type: str
    code: str
    hint: str
    request_id: str
    queue: Crowd | None = None


_TYPES: tuple[tuple[type[ModelDeployError], str], ...] = (
    (InvalidRequest, "validation"),
    (QueueFull, "overloaded"),
    (NotReady, "overloaded"),
)


def _type_of(error: ModelDeployError) -> str:
    return next((name for kind, name in _TYPES if isinstance(error, kind)), "generation")


class HuggingFace:
    def __init__(self, service: Service) -> None:
        self._service = service

    @staticmethod
    def operations(about: About) -> list[Operation]:
        task, schemas = about.task, about.schemas
        return [
            Operation(
                "post",
                "/",
                f"The same, as Hugging Face's clients ask ({task.name}).",
                {"200": _prediction(about), **errors(schemas.of(HfError))},
                {**bodies(_request(about), _example(task)), **media_bodies(about)},
            )
        ]

    def routes(self) -> list[Route]:
        return [
            JsonRoute("/", self._predict, "POST", produced(self._service.task)),
            Route("/", _to_the_docs, methods=["GET"]),
        ]

    def speaks(self, path: str) -> bool:
        return path == "/"

    def error(self, error: ModelDeployError, request_id: str) -> Response:
        body = HfError(
            error=error.message,
            error_type=_type_of(error),
            code=error.code,
            hint=error.hint,
            request_id=request_id,
            queue=crowd_of(error),
        )
        return json_answer(body, error.status)

    async def _predict(self, request: Request) -> Response:
        exchange = exchange_of(request.scope)
        self._service.admit(exchange)
        return await self.answer(await intake.asked(self._service, exchange, parse_hf), exchange)

    async def answer(self, asked: Asked, exchange: Exchange) -> Response:
        """The bare output for what was asked, or the pieces of it. Binary where the client takes
        it so, else in JSON and base64.

        Raises:
            NotAcceptable: and what the service does.
        """
        if asked.stream:
            return await token_events(self._service, asked, exchange, _told)
        shape = (asked.task or self._service.task).hf
        binary = (shape.binary,) if shape.binary and not asked.many else ()
        form = acceptable(exchange, *binary, JSON)
        results = await self._service.predict(asked.inputs, asked.parameters, exchange)
        if form != JSON:
            return Response(astuple(results[0])[0], media_type=form)
        shaped = results if asked.many or shape.listed else results[0]
        return await self._service.aside(weight(*results), json_answer, shaped)


def _told(error: ModelDeployError) -> dict[str, str]:
    return {"error": error.message, "error_type": _type_of(error)}


async def _to_the_docs(request: Request) -> Response:
    return RedirectResponse("docs")


def _request(about: About) -> Schema:
    return any_of([_request_of(task, about) for task in answered(about.task)])


def _request_of(task: TaskSchema, about: About) -> Schema:
    item = about.schemas.of(hf_input(task))
    several = {"type": "array", "items": item, "minItems": 1, "maxItems": about.limits.max_texts}
    parameters = about.schemas.of(hf_parameters(task))
    stream = {"stream": {"type": "boolean", "default": False}} if task.hf.streamed else {}
    name = hf_parameters(task).__name__
    beside = {
        one: {"$ref": f"#/components/schemas/{name}/properties/{one}"}
        for one in about.schemas.parts[name]["properties"]
    }
    return {
        "type": "object",
        "description": "Parameters may also stand beside the inputs.",
        "properties": {
            **beside,
            "inputs": {"anyOf": [item, several]},
            "parameters": parameters,
            "options": {},
            **stream,
        },
        "required": ["inputs"],
        "additionalProperties": False,
    }


def _prediction(about: About) -> Schema:
    hf = about.task.hf
    outputs = [_output(task, about) for task in answered(about.task)]
    told = answer("The bare prediction.", any_of(outputs))
    if hf.binary:
        told["content"][hf.binary] = {"schema": {"type": "string", "format": "binary"}}
    if hf.streamed:
        told["content"][EVENTS] = events(about.schemas.of(hf.streamed))
    return told


def _output(task: TaskSchema, about: About) -> Schema:
    one = about.schemas.of(task.output)
    several = {"type": "array", "items": one}
    return several if task.hf.listed else {"anyOf": [one, several]}


def _example(task: TaskSchema) -> dict[str, Any]:
    """The task's example, with inputs and parameters apart."""
    names = task.inputs.__struct_fields__
    inside = {name: value for name, value in task.example.items() if name in names}
    if task.single:
        plural = task.many[1] if task.many else ""
        inside = {
            name: task.example[name] for name in (task.single, plural) if name in task.example
        }
    beside = {name: value for name, value in task.example.items() if name not in inside}
    inputs = next(iter(inside.values())) if task.single else inside
    return {"inputs": inputs, "parameters": beside} if beside else {"inputs": inputs}
