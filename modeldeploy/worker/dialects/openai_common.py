"""What OpenAI's routes share: reading a request, whose model it names, parameters, errors, ids."""

from __future__ import annotations

import contextlib
import re
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from modeldeploy.errors import (
    InputTooLong,
    InvalidRequest,
    NotFound,
    UnsupportedMediaType,
)
from modeldeploy.schema.tasks import Ability
from modeldeploy.schema.tasks.generation import MOST_TOKENS, Details, Finish
from modeldeploy.web.shapes import LED
from modeldeploy.worker.dialects.openai_types import Usage
from modeldeploy.worker.http.exchange import Exchange, exchange_of
from modeldeploy.worker.http.requests import decode
from modeldeploy.worker.http.routing import JSON, acceptable
from modeldeploy.worker.http.service import Service

T = TypeVar("T")

FINISH: dict[Finish, str] = {"length": "length", "eos_token": "stop", "stop_sequence": "stop"}
# What huggingface_hub's client sends where a URL stands for the model.
_ANY_MODEL = "dummy"


class Handler(ABC):
    """One route of OpenAI's API over the deployment's own task, where that has the ``ability``."""

    path: ClassVar[str]
    ability: ClassVar[Ability]
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
        raw = await self.service.body(exchange)
        found: T = await self.service.aside(len(raw), decode, raw, kind)
        self.check_model(found.model)  # type: ignore[attr-defined]  # every request names one
        return found

    @staticmethod
    def check_acceptable(exchange: Exchange, *, asked_other: bool | None) -> None:
        """For an answer in JSON. Where the body asks for another form (``asked_other``) it is the
        body that says what is accepted: OpenAI's clients send ``Accept: application/json``
        with all they ask.

        Raises:
            NotAcceptable
        """
        if not asked_other:
            acceptable(exchange, JSON)

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
            InvalidRequest: the task does not have one of them, or not with that value.
        """
        wanted = {name: value for name, value in given.items() if value is not None}
        for name in wanted:
            if name not in self.task.parameters.__struct_fields__:
                raise InvalidRequest(f"{name}: {self.task.name} does not take it")
        try:
            return msgspec.convert(wanted, self.task.parameters)
        except msgspec.ValidationError as error:
            raise InvalidRequest(str(error)) from error

    @property
    def model(self) -> str:
        """The name that answers carry."""
        return self._spec.deployment


def whole_window(window: int | None) -> int | None:
    """The ``max_length`` of whoever names no limit: all that the model and the schema allow."""
    return None if window is None else min(window, MOST_TOKENS)


def new_id(prefix: str) -> str:
    return f"{prefix}-{secrets.token_hex(12)}"


def usage_of(details: list[Details]) -> Usage:
    """Of one prompt and the sequences written for it."""
    return usage(details[0].input_length, sum(one.generated_tokens for one in details))


def usage(prompt: int, written: int) -> Usage:
    return Usage(prompt_tokens=prompt, completion_tokens=written, total_tokens=prompt + written)


@contextlib.contextmanager
def in_terms_of(inputs: str, **names: str) -> Iterator[None]:
    """Have errors within name the request's fields instead of the task's: ``inputs`` is the field
    that the task's input comes from, ``names`` those of its parameters.

    Raises:
        InvalidRequest: as it was raised within, in other words.
    """
    known = {"text": inputs, "texts": inputs, "messages": inputs, **names}
    try:
        yield
    except InvalidRequest as error:
        error.message = _renamed(error.message, known)
        if isinstance(error, InputTooLong) and not LED.match(error.message):
            error.message = f"{inputs}: {error.message}"
        raise


def _renamed(message: str, names: Mapping[str, str]) -> str:
    """With the fields that it begins with as ``names`` have them; the one of several inputs that
    another field is about comes behind that."""
    led = LED.match(message)
    if led is None:
        return message
    field, rest = led[1], message[led.end() :]
    root = re.split(r"[.\[]", field, maxsplit=1)[0]
    own = names.get(root, root) + field[len(root) :]
    if own.endswith("]") and (inner := LED.match(rest)) and inner[1] in names:
        return f"{names[inner[1]]}: {own}: {rest[inner.end() :]}"
    return f"{own}: {rest}"
