"""What OpenAI's routes share: reading a request, whose model it names, parameters, errors, ids."""

from __future__ import annotations

import re
import secrets
from abc import ABC, abstractmethod
from typing import Any, ClassVar, TypeVar

import msgspec
from msgspec.structs import fields
from starlette.requests import Request
from starlette.responses import Response

from modeldeploy.errors import (
    InvalidRequest,
    ModelDeployError,
    NotFound,
    UnsupportedMediaType,
)
from modeldeploy.schema.tasks.generation import Details, Finish
from modeldeploy.worker.dialects.openai_types import Error, ErrorBody, Usage
from modeldeploy.worker.exchange import Exchange, exchange_of
from modeldeploy.worker.requests import decode
from modeldeploy.worker.service import Service

T = TypeVar("T")

FINISH: dict[Finish, str] = {"length": "length", "eos_token": "stop", "stop_sequence": "stop"}
_NAMED = re.compile(r"(?:unknown|required) field `(\w+)`|at `\$\.(\w+)|^`?(\w+)`?: ")
_TYPES = {429: "rate_limit_error", 503: "service_unavailable_error"}
# What huggingface_hub's client sends where a URL stands for the model.
_ANY_MODEL = "dummy"


class Handler(ABC):
    """One route of OpenAI's API over the deployment's own task, where that is one of ``tasks``."""

    path: ClassVar[str]
    tasks: ClassVar[frozenset[str]]
    converses: ClassVar[bool] = False  # whether the model needs a chat template
    also: ClassVar[tuple[str, ...]] = ()  # the media types of its answers beside JSON

    def __init__(self, service: Service) -> None:
        self.service = service
        self.task = service.task
        self._spec = service.state.spec

    @abstractmethod
    async def respond(self, exchange: Exchange) -> Response:
        """The answer to an exchange that was admitted."""

    async def answer(self, request: Request) -> Response:
        exchange = exchange_of(request.scope)
        self.service.admit(exchange)
        return await self.respond(exchange)

    async def read(self, exchange: Exchange, kind: type[T]) -> T:
        """The body as ``kind``.

        Raises:
            UnsupportedMediaType, InvalidRequest, NotFound: it names another model.
        """
        if exchange.media_type != "application/json":
            raise UnsupportedMediaType(
                f"the content type is {exchange.media_type[:100]!r}", hint="send application/json"
            )
        raw = await exchange.body(self.service.limits.max_body_bytes)
        found: T = decode(raw, kind)
        self.check_model(found.model)  # type: ignore[attr-defined]  # every request names one
        return found

    def check_model(self, named: str) -> None:
        """
        Raises:
            NotFound: it is not the model that is deployed here.
        """
        spec = self._spec
        if named not in {spec.deployment, spec.model_id, _ANY_MODEL}:
            raise NotFound(
                f"model: there is no model {named[:100]!r} here",
                hint=f"this deployment is {spec.deployment!r} ({spec.model_id})",
            )

    def parameters(self, **given: Any) -> Any:
        """The task's own parameters; None leaves their defaults.

        Raises:
            InvalidRequest: the task does not have one of them.
        """
        wanted = {name: value for name, value in given.items() if value is not None}
        known = {info.name for info in fields(self.task.parameters)}
        for name in wanted:
            if name not in known:
                raise InvalidRequest(f"{name}: {self.task.name} does not take it")
        return msgspec.convert(wanted, self.task.parameters)

    @property
    def model(self) -> str:
        """The name that answers carry."""
        return self._spec.deployment


def new_id(prefix: str) -> str:
    return f"{prefix}-{secrets.token_hex(12)}"


def usage_of(details: list[Details]) -> Usage:
    """Of one prompt and the sequences written for it."""
    return usage(details[0].input_length, sum(one.generated_tokens for one in details))


def usage(prompt: int, written: int) -> Usage:
    return Usage(prompt_tokens=prompt, completion_tokens=written, total_tokens=prompt + written)


def error_body(error: ModelDeployError) -> ErrorBody:
    """OpenAI's error object; ``param`` is the field that the message names."""
    found = _NAMED.search(error.message) if error.status < 500 else None
    default = "server_error" if error.status >= 500 else "invalid_request_error"
    return ErrorBody(
        error=Error(
            message=f"{error.message} ({error.hint})" if error.hint else error.message,
            type=_TYPES.get(error.status, default),
            param=next((name for name in found.groups() if name), None) if found else None,
            code=error.code,
        )
    )
