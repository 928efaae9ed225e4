"""The Open Inference Protocol, version 2, as ``tritonclient.http`` speaks it.

A deployment serves one model, under its own name and under the model's id, in one version.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import asdict
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from modeldeploy.errors import InvalidRequest, ModelDeployError, NotFound, UnsupportedMediaType
from modeldeploy.schema.tasks import TaskSchema
from modeldeploy.web.answers import json_answer
from modeldeploy.web.shapes import Live, OipError, Ready, ServerInfo, oip_error
from modeldeploy.worker.dialects import oip_tensors as tensors
from modeldeploy.worker.dialects.oip_wire import (
    HEADER_LENGTH,
    InferResponse,
    Produced,
    elements,
    head_length,
    infer_request,
)
from modeldeploy.worker.http.exchange import exchange_of
from modeldeploy.worker.http.operations import About, Operation, Schema, answer, bodies, errors
from modeldeploy.worker.http.requests import Asked, check_count, decode, example, meant
from modeldeploy.worker.http.routing import BINARY, JSON, JsonRoute, acceptable
from modeldeploy.worker.http.service import Service
from modeldeploy.worker.http.weight import weight

_MODELS = "/v2/models/"


class ModelReady(Struct, frozen=True):
    name: str
    ready: bool


class ModelMetadata(Struct, frozen=True, kw_only=True):
    name: str
    versions: list[str]
    platform: str = "transformers"
    inputs: list[tensors.TensorInfo]
    outputs: list[tensors.TensorInfo]


class _Name(Struct, frozen=True):
    name: str


class _Named(Struct, frozen=True):
    """The names of a request's tensors."""

    inputs: list[_Name]


class OpenInference:
    def __init__(self, service: Service) -> None:
        self._service = service
        spec = service.state.spec
        self._version = spec.commit or "1"
        self._model_id = spec.model_id
        self._names = {spec.deployment, spec.model_id}

    @staticmethod
    def operations(about: About) -> list[Operation]:
        of = about.schemas.of
        model = _MODELS + about.deployment
        failures = errors(of(OipError))
        refused = {status: failures[status] for status in ("403", "406", "421")}
        body = bodies(of(infer_request(about.task)), _example(about.task))
        made = {"200": answer("The prediction.", of(InferResponse))}
        gets: list[tuple[str, str, Any, Any]] = [
            ("/v2", "The server.", ServerInfo, None),
            ("/v2/health/live", "Whether the process lives.", Live, None),
            ("/v2/health/ready", "Whether a prediction would be answered now.", Ready, Ready),
            (model, "The model's tensors.", ModelMetadata, None),
            (f"{model}/ready", "The same, of the model.", ModelReady, ModelReady),
        ]
        infer = Operation(
            "post",
            f"{model}/infer",
            "A prediction, tensors in and out.",
            {**made, **failures},
            body,
        )
        return [
            infer,
            *(
                Operation("get", path, summary, {**_told(of(good), bad and of(bad)), **refused})
                for path, summary, good, bad in gets
            ),
        ]

    def routes(self) -> list[Route]:
        routes: list[Route] = [
            JsonRoute("/v2", _server),
            JsonRoute("/v2/health/live", _live),
            JsonRoute("/v2/health/ready", self._ready),
        ]
        for path in self._paths():
            routes += [
                JsonRoute(f"{path}/infer", self._infer, "POST", (BINARY,)),
                JsonRoute(f"{path}/ready", self._model_ready),
                JsonRoute(path, self._metadata),
            ]
        return routes

    def _paths(self) -> list[str]:
        """Of the model; an id with a slash in it stands there as it is."""
        paths = ["{name}"]
        if "/" in self._model_id and "{" not in self._model_id:
            paths.insert(0, self._model_id)
        return [_MODELS + path + end for path in paths for end in ("/versions/{version}", "")]

    def speaks(self, path: str) -> bool:
        return path == "/v2" or path.startswith("/v2/")

    def error(self, error: ModelDeployError, request_id: str) -> Response:
        return json_answer(oip_error(error), error.status)

    async def _ready(self, request: Request) -> Response:
        return self._readiness(Ready(self._service.is_ready))

    async def _model_ready(self, request: Request) -> Response:
        return self._readiness(ModelReady(self._named(request), self._service.is_ready))

    def _readiness(self, told: Ready | ModelReady) -> Response:
        response = json_answer(told, 200 if told.ready else 503)
        if not told.ready:
            response.headers["retry-after"] = "1"
        return response

    async def _metadata(self, request: Request) -> Response:
        task, adapter = self._service.task, self._service.adapter
        return json_answer(
            ModelMetadata(
                name=self._named(request),
                versions=[self._version],
                inputs=tensors.taken(task),
                outputs=tensors.given(task, tokenwise=bool(adapter and adapter.info().tokenwise)),
            )
        )

    def _named(self, request: Request) -> str:
        """The name that the model is asked by.

        Raises:
            NotFound: it is not ours, or the version is not.
        """
        asked = request.path_params
        name, version = asked.get("name", self._model_id), asked.get("version", self._version)
        if name not in self._names or version != self._version:
            here = f"{self._service.state.spec.deployment} in version {self._version}"
            raise NotFound(f"there is no model {name[:100]!r} of that version here", f"ask {here}")
        return str(name)

    async def _infer(self, request: Request) -> Response:
        exchange = exchange_of(request.scope)
        name = self._named(request)
        self._service.admit(exchange)
        if exchange.media_type not in {"", JSON, BINARY}:
            raise UnsupportedMediaType(
                f"the content type is {exchange.media_type[:100]!r}",
                hint=f"send {JSON}, or {BINARY} with tensors behind the JSON",
            )
        body = await self._service.body(exchange)
        length = head_length(request.headers.get(HEADER_LENGTH), body)
        wanted, asked = await self._service.aside(len(body), self._parse, body, length)
        acceptable(exchange, BINARY if _is_binary(wanted) else JSON)
        results = await self._service.predict(asked.inputs, asked.parameters, exchange)
        task = asked.task or self._service.task
        return await self._service.aside(
            weight(*results), self._answer, name, wanted, task, results
        )

    def _parse(self, body: bytes, length: int) -> tuple[Any, Asked]:
        task = self._service.task
        if task.twin:
            named = decode(body[:length], _Named)
            task = meant(task, {one.name for one in named.inputs})
        wanted: Any = decode(body[:length], infer_request(task))
        _check_wanted(task, [one.name for one in wanted.outputs])
        columns = elements(wanted.inputs, body[length:])
        check_count(wanted.inputs[0].name, len(columns[0]), self._service.limits.max_texts)
        inputs = tensors.inputs(task, wanted.inputs, columns)
        given = asdict(wanted.parameters)
        own = {name: given[name] for name in task.parameters.__struct_fields__}
        return wanted, Asked(inputs, task.parameters(**own), many=True, task=task)

    def _answer(self, name: str, wanted: Any, task: TaskSchema, results: list[Any]) -> Response:
        made = tensors.outputs(task, results)
        as_bytes = _as_bytes(wanted) or {
            one.name: wanted.parameters.binary_data_output for one in made
        }
        head, tail = _packed([one for one in made if one.name in as_bytes], as_bytes)
        response = InferResponse(
            model_name=name, model_version=self._version, id=wanted.id, outputs=head
        )
        if not any(as_bytes.values()):
            return json_answer(response)
        encoded = msgspec.json.encode(response)
        return Response(
            encoded + tail, headers={HEADER_LENGTH: str(len(encoded))}, media_type=BINARY
        )


def _as_bytes(wanted: Any) -> dict[str, bool]:
    """Whether each output that is named is to come as bytes."""
    by_default = wanted.parameters.binary_data_output
    return {
        one.name: by_default if one.parameters.binary_data is None else one.parameters.binary_data
        for one in wanted.outputs
    }


def _is_binary(wanted: Any) -> bool:
    found = _as_bytes(wanted).values()
    return any(found) if found else bool(wanted.parameters.binary_data_output)


def _packed(made: list[Produced], as_bytes: dict[str, bool]) -> tuple[list[Any], bytes]:
    heads, tails = [], []
    for one in made:
        if as_bytes[one.name]:
            head, tail = one.as_bytes()
            heads.append(head)
            tails.append(tail)
        else:
            heads.append(one.as_json())
    return heads, b"".join(tails)


def _check_wanted(task: TaskSchema, names: list[str]) -> None:
    known = [one.name for one in tensors.given(task)]
    for name in names:
        if name not in known:
            raise InvalidRequest(
                f"there is no output {name[:100]!r}", hint=f"there are {', '.join(known)}"
            )


async def _server(request: Request) -> Response:
    return json_answer(ServerInfo())


async def _live(request: Request) -> Response:
    return json_answer(Live(True))


def _told(good: Schema, bad: Schema | None) -> dict[str, Schema]:
    told = {"200": answer("It is.", good)}
    return {**told, "503": answer("Not now.", bad)} if bad else told


def _example(task: TaskSchema) -> dict[str, Any]:
    """The task's example as tensors."""
    asked = example(task, task.example)
    names = [name for name in task.inputs.__struct_fields__ if _is_given(asked, name)]
    columns = {name: [getattr(one, name) for one in asked.inputs] for name in names}
    inputs = [
        {
            "name": name,
            "shape": [len(column)],
            "datatype": "BYTES",
            "data": [v if isinstance(v, str) else msgspec.json.encode(v).decode() for v in column],
        }
        for name, column in columns.items()
    ]
    known = task.parameters.__struct_fields__
    parameters = {name: value for name, value in task.example.items() if name in known}
    return {"inputs": inputs, "parameters": parameters} if parameters else {"inputs": inputs}


def _is_given(asked: Asked, name: str) -> bool:
    return all(getattr(one, name) is not None for one in asked.inputs)
