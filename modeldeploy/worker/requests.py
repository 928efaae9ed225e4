"""A native body to inputs and parameters, checked against the task's schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import UNSET, Struct
from msgspec.structs import fields

from modeldeploy.errors import InvalidRequest, MalformedBody
from modeldeploy.schema.tasks import TaskSchema, native_request

_HINT = "GET /info has an example body, GET /openapi.json the schema"


@dataclass(frozen=True)
class Asked:
    """The inputs of one request, in order; ``many`` says whether a list was sent."""

    inputs: list[Any]
    parameters: Any
    many: bool


def parse(task: TaskSchema, raw: bytes, most: int) -> Asked:
    """A body of JSON.

    Raises:
        MalformedBody: it is not JSON in UTF-8. InvalidRequest: it is not what the schema asks for.
    """
    try:
        body = msgspec.json.decode(raw, type=native_request(task))
    except msgspec.ValidationError as error:
        raise InvalidRequest(str(error), hint=_HINT) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedBody(f"the body is not JSON: {error}", hint=_HINT) from error
    return split(task, body, most)


def example(task: TaskSchema, body: dict[str, Any]) -> Asked:
    """A body from the schema itself."""
    return split(task, msgspec.convert(body, native_request(task)), most=1)


def raw_input(task: TaskSchema, raw: bytes) -> Asked:
    """A body that is the first input field itself, with the default parameters."""
    if not raw:
        raise InvalidRequest("the body is empty", hint=_HINT)
    return Asked([task.inputs(raw)], task.parameters(), many=False)


def split(task: TaskSchema, body: Struct, most: int) -> Asked:
    """
    Raises:
        InvalidRequest: not exactly one of the singular and the plural field, or too many items.
    """
    parameters = task.parameters(**_taken(task.parameters, body))
    given = _taken(task.inputs, body)
    if task.many is None:
        return Asked([task.inputs(**given)], parameters, many=False)
    one, several = task.many
    items = getattr(body, several)
    if (given[one] is None) == (items is None):
        raise InvalidRequest(f"exactly one of `{one}` and `{several}` must be given", hint=_HINT)
    if items is None:
        return Asked([task.inputs(**given)], parameters, many=False)
    if not items:
        raise InvalidRequest(f"`{several}` is empty: it must hold at least one", hint=_HINT)
    if len(items) > most:
        raise InvalidRequest(
            f"`{several}` holds {len(items)}, the limit is {most}", hint="send several requests"
        )
    return Asked([task.inputs(**{**given, one: item}) for item in items], parameters, many=True)


def _taken(kind: type[Struct], body: Struct) -> dict[str, Any]:
    found = {info.name: getattr(body, info.name, UNSET) for info in fields(kind)}
    return {name: value for name, value in found.items() if value is not UNSET}
