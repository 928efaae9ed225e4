"""A body to inputs and parameters, checked against the task's schema.

Natively inputs and parameters stand side by side; in the Hugging Face dialect apart; in a form
each is a part. Whatever the form, the same types decode it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import fields, replace

from modeldeploy.errors import InvalidRequest, MalformedBody
from modeldeploy.schema import tasks
from modeldeploy.schema.tasks import (
    TaskSchema,
    file_fields,
    hf_input,
    hf_parameters,
    native_request,
)
from modeldeploy.worker.http.values import check_values

# Fields that clients know, and that may only be null here.
_UNSUPPORTED = re.compile(r"^Expected `null`, got `\w+`")
_HINT = "GET /info has an example body, GET /openapi.json the schema"


@dataclass(frozen=True)
class Asked:
    """The inputs of one request, in order; ``many`` says whether a list was sent, ``stream``
    whether the answer is wanted piece by piece, ``task`` whose inputs they are where it is not the
    deployment's own but its twin's."""

    inputs: list[Any]
    parameters: Any
    many: bool
    stream: bool = False
    task: TaskSchema | None = None


def parse(task: TaskSchema, raw: bytes, most: int) -> Asked:
    """A body of JSON.

    Raises:
        MalformedBody: it is not JSON in UTF-8. InvalidRequest: it is not what the schema asks for.
    """
    try:
        return split(task, decode(raw, native_request(task)), most)
    except InvalidRequest:
        if not task.twin:
            raise
        other = meant(task, decode(raw, dict[str, msgspec.Raw]).keys())
        if other is task:
            raise
        return split(other, decode(raw, native_request(other)), most)


def meant(task: TaskSchema, given: AbstractSet[str]) -> TaskSchema:
    """The task itself, or its twin where only that one has any of the inputs that are ``given``."""
    mine, *others = tasks.answered(task)
    is_mine = given & _input_names(mine)
    return mine if is_mine else next((one for one in others if given & _input_names(one)), mine)


def _input_names(task: TaskSchema) -> set[str]:
    return {*task.inputs.__struct_fields__, *(task.many or ())}


def decode(raw: bytes | msgspec.Raw, kind: Any, at: str = "$") -> Any:
    """``raw`` as ``kind``; ``at`` is where in the body it stands.

    Raises:
        MalformedBody: it is not JSON in UTF-8. InvalidRequest: it is not a ``kind``, or has too many
            values.
    """
    if isinstance(raw, bytes):
        check_values(raw)
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        said = _UNSUPPORTED.sub("this is not supported: leave it out", str(error))
        if "`$" not in said and at != "$":
            said = f"{said} - at `$`"
        raise InvalidRequest(said.replace("`$", f"`{at}"), hint=_HINT) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedBody(f"the body is not JSON: {error}", hint=_HINT) from error


def example(task: TaskSchema, body: dict[str, Any]) -> Asked:
    """A body from the schema itself."""
    return split(task, msgspec.convert(body, native_request(task)), most=1)


def raw_input(task: TaskSchema, raw: bytes) -> Asked:
    """A body that is the first input field itself, with the default parameters."""
    if not raw:
        raise InvalidRequest("the body is empty", hint=_HINT)
    return Asked([task.inputs(raw)], task.parameters(), many=False)


def is_hf(raw: bytes) -> bool:
    """Whether a body is of the Hugging Face dialect: an object that has ``inputs``."""
    if b'"inputs"' not in raw:
        return False
    try:
        return msgspec.json.decode(raw, type=_WithInputs).inputs is not UNSET
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


class _WithInputs(Struct):
    """Other fields are not looked at."""

    inputs: msgspec.Raw | UnsetType = UNSET


def parse_hf(task: TaskSchema, raw: bytes, most: int) -> Asked:
    """A body of the Hugging Face dialect: ``{"inputs", "parameters"?, "stream"?}``.

    Parameters may also stand beside ``inputs`` (not in both places), where some clients put them;
    ``options`` are for a service that shares machines and mean nothing here.

    Raises:
        MalformedBody, InvalidRequest: as :func:`parse`.
    """
    body: dict[str, msgspec.Raw] = decode(raw, dict[str, msgspec.Raw])
    if "inputs" not in body:
        raise InvalidRequest("Object missing required field `inputs`", hint=_HINT)
    task = _meant(task, body["inputs"])
    given = decode(
        body.get("parameters", msgspec.Raw(b"{}")), dict[str, msgspec.Raw], "$.parameters"
    )
    beside = {key: value for key, value in body.items() if key not in _HF_KEYS}
    gathered = _gathered(task, body["inputs"], beside)
    for twice in given.keys() & beside.keys():
        raise InvalidRequest(f"{twice}: it stands in `parameters` and beside `inputs`", hint=_HINT)
    both = msgspec.json.encode({**given, **beside})
    parameters = decode(both, hf_parameters(task), "$.parameters")
    kind, inputs = hf_input(task), gathered
    stream = decode(body.get("stream", msgspec.Raw(b"false")), bool, "$.stream")
    many = bytes(inputs).lstrip()[:1] == b"["
    items = decode(inputs, list[kind] if many else kind, "$.inputs")  # type: ignore[valid-type] # a type made at run time
    items = items if many else [items]
    check_count("inputs", len(items), most)
    return Asked(
        [_hf_input(task, item, parameters) for item in items],
        task.parameters(**_taken(task.parameters, parameters)),
        many,
        stream,
        task,
    )


def _gathered(task: TaskSchema, inputs: msgspec.Raw, beside: dict[str, msgspec.Raw]) -> msgspec.Raw:
    """``inputs`` of a task with several input fields, which huggingface_hub's client sends as the
    first of them, the others beside it (visual_question_answering); they are taken from there."""
    if task.single or bytes(inputs).lstrip()[:1] in {b"{", b"["}:
        return inputs
    names = task.inputs.__struct_fields__
    found = {name: beside.pop(name) for name in names if name in beside}
    return msgspec.Raw(msgspec.json.encode({names[0]: inputs, **found})) if found else inputs


def _meant(task: TaskSchema, inputs: msgspec.Raw) -> TaskSchema:
    """The task itself, or its twin where the inputs can only be that one's."""
    is_object = _OBJECTS.match(bytes(inputs)) is not None
    fitting = (one for one in tasks.answered(task) if is_object != (one.single is not None))
    return next(fitting, task)


_OBJECTS = re.compile(rb"\s*(\[\s*)?\{")
_HF_KEYS = frozenset({"inputs", "parameters", "options", "stream"})


def _hf_input(task: TaskSchema, item: Any, parameters: Struct) -> Any:
    if task.single is None:
        return task.inputs(**_taken(task.inputs, item))
    return task.inputs(**{**_taken(task.inputs, parameters), task.single: item})


def from_form(task: TaskSchema, parts: dict[str, Any], most: int) -> Asked:
    """A form: files as they are, texts as the field's type has them (JSON where it is no text), a
    list of either where its part comes again. ``file`` is another name of the first field. A
    parameter may be ``null`` where that is its default: Swagger UI sends it so.

    Raises:
        InvalidRequest: a part is not what its field takes.
    """
    one, several = task.many or (task.inputs.__struct_fields__[0], "")
    if task.media and "file" in parts:
        file = parts.pop("file")
        parts = {several if several and isinstance(file, list) else one: file, **parts}
    unsaid = {field.name for field in fields(task.parameters) if field.default is None}
    parts = {
        name: _plain(value)
        for name, value in parts.items()
        if value != "null" or name not in unsaid
    }
    if isinstance(parts.get(several), str | bytes):
        parts[several] = [parts[several]]
    files = {name: value for name, value in parts.items() if _is_file(value)}
    for name in files.keys() - {*file_fields(task.inputs), several}:
        raise InvalidRequest(f"{name}: it is no file", hint=_HINT)
    body = {**parts, **{name: _stand_in(value) for name, value in files.items()}}
    asked = split(task, _loosely(body, native_request(task)), most)
    rows = files.pop(several, None)
    inputs = [replace(made, **files) for made in asked.inputs]
    if rows:
        inputs = [replace(made, **{one: row}) for made, row in zip(inputs, rows, strict=True)]
    return Asked(inputs, asked.parameters, asked.many, asked.stream)


def _is_file(part: Any) -> bool:
    return isinstance(part, bytes) or (isinstance(part, list) and bytes in map(type, part))


def _stand_in(file: Any) -> Any:
    """What the schema takes in place of a file: its base64 is never made."""
    if not isinstance(file, list):
        return "-"
    if not all(isinstance(one, bytes) for one in file):
        raise InvalidRequest("a part of the form comes as a file and as a text", hint=_HINT)
    return ["-"] * len(file)


def _loosely(value: Any, kind: Any) -> Any:
    """As ``kind``, numbers and the like from their texts."""
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidRequest(str(error), hint=_HINT) from error


def _plain(part: Any) -> Any:
    """A list or an object where a text is JSON of one, else the part itself."""
    if isinstance(part, str) and part[:1] in {"[", "{"}:
        with contextlib.suppress(MalformedBody):
            return decode(part.encode(), Any)
    return part


def check_count(name: str, count: int, most: int) -> None:
    """
    Raises:
        InvalidRequest: there are none, or more than ``most``.
    """
    if count == 0:
        raise InvalidRequest(f"`{name}` is empty: it must hold at least one", hint=_HINT)
    if count > most:
        raise InvalidRequest(
            f"`{name}` holds {count}, the limit is {most}", hint="send several requests"
        )


def split(task: TaskSchema, body: Struct, most: int) -> Asked:
    """
    Raises:
        InvalidRequest: not exactly one of the singular and the plural field, or too many items.
    """
    parameters = task.parameters(**_taken(task.parameters, body))
    stream = bool(getattr(body, "stream", False))
    given = _taken(task.inputs, body)
    if task.many is None:
        return Asked([task.inputs(**given)], parameters, many=False, stream=stream)
    one, several = task.many
    items = getattr(body, several)
    if (given[one] is None) == (items is None):
        raise InvalidRequest(f"exactly one of `{one}` and `{several}` must be given", hint=_HINT)
    if items is None:
        return Asked([task.inputs(**given)], parameters, many=False, stream=stream)
    check_count(several, len(items), most)
    inputs = [task.inputs(**{**given, one: item}) for item in items]
    return Asked(inputs, parameters, many=True, stream=stream)


def _taken(kind: type[Struct], body: Struct) -> dict[str, Any]:
    found = ((name, getattr(body, name, UNSET)) for name in kind.__struct_fields__)
    return {name: value for name, value in found if value is not UNSET}
