"""What workers and the gateway both answer, in the shape of each dialect: errors and lists of models."""

from __future__ import annotations

import re

from msgspec import Struct
from msgspec.structs import asdict
from starlette.responses import Response

from modeldeploy import __version__
from modeldeploy.errors import ModelDeployError, QueueFull, UnsupportedMediaType
from modeldeploy.schema.problem import Crowd, Problem
from modeldeploy.web.answers import json_answer

_PLACE = r"[a-z_]\w*(?:\.\w+|\[\d*\])*"
_FIELD = re.compile(r"(?:unknown|required) field `(\w+)`")
_AT = re.compile(r"at `\$\.?([^`]+)`")
LED = re.compile(rf"`?({_PLACE})`?: ")  # a message that begins with the field it is about
_TYPES = {429: "rate_limit_error", 503: "service_unavailable_error"}


class Told(Problem, frozen=True, kw_only=True, omit_defaults=True):
    """An error as a client is told it; ``queue`` comes with 429."""

    queue: Crowd | None = None


class Failure(Struct, frozen=True, kw_only=True):
    """The native error; the gateway's own are of no deployment."""

    status: str = "error"
    error: Told
    deployment_id: str | None
    request_id: str

    @classmethod
    def of(cls, error: ModelDeployError, deployment_id: str | None, request_id: str) -> Failure:
        told = Told(**asdict(error.problem()), queue=crowd_of(error))
        return cls(error=told, deployment_id=deployment_id, request_id=request_id)


def crowd_of(error: ModelDeployError) -> Crowd | None:
    return error.crowd if isinstance(error, QueueFull) else None


def told_beside(error: ModelDeployError) -> dict[str, str]:
    """What an error says in headers, which every dialect has room for."""
    headers = {} if error.retry_after is None else {"retry-after": str(error.retry_after)}
    if crowd := crowd_of(error):
        headers["x-queue-depth"] = str(crowd.depth)
        headers["x-queue-position"] = str(crowd.position)
    return headers


# OpenAI (https://platform.openai.com/docs/api-reference).


class Model(Struct, frozen=True, kw_only=True):
    id: str
    object: str = "model"
    created: int
    owned_by: str

    @classmethod
    def of(cls, deployment: str, model_id: str, since: float) -> Model:
        owner, slash, _ = model_id.partition("/")
        if model_id.startswith(("/", ".", "~")):
            owner = "local"
        return cls(id=deployment, created=int(since), owned_by=owner if slash else "huggingface")


class Models(Struct, frozen=True, kw_only=True):
    object: str = "list"
    data: list[Model]


class Error(Struct, frozen=True, kw_only=True):
    message: str
    type: str
    param: str | None
    code: str


class ErrorBody(Struct, frozen=True, kw_only=True):
    error: Error


def _param(message: str) -> str | None:
    """The field that a message names, as a path into the request."""
    at, field = _AT.search(message), _FIELD.search(message)
    if at or field:
        return ".".join(found[1] for found in (at, field) if found)
    led = LED.match(message)
    return led[1] if led else None


def error_body(error: ModelDeployError) -> ErrorBody:
    """OpenAI's error object; ``param`` is the field that the message names."""
    default = "server_error" if error.status >= 500 else "invalid_request_error"
    return ErrorBody(
        error=Error(
            message=f"{error.message} ({error.hint})" if error.hint else error.message,
            type=_TYPES.get(error.status, default),
            param=_param(error.message) if error.status < 500 else None,
            code=error.code,
        )
    )


def openai_answer(error: ModelDeployError) -> Response:
    status = error.status
    if status == 422 or isinstance(error, UnsupportedMediaType):
        status = 400  # OpenAI's clients know no others for a bad request
    return json_answer(error_body(error), status)


# The Open Inference Protocol.


class OipError(Struct, frozen=True):
    error: str


class ServerInfo(Struct, frozen=True, kw_only=True):
    name: str = "modeldeploy"
    version: str = __version__
    extensions: tuple[str, ...] = ("binary_tensor_data",)


class Live(Struct, frozen=True):
    live: bool


class Ready(Struct, frozen=True):
    ready: bool


def oip_error(error: ModelDeployError) -> OipError:
    return OipError(f"{error.message} ({error.hint})" if error.hint else error.message)
