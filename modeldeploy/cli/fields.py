"""A task's own fields as options of ``predict``, made of the schema that its requests are made of."""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec import Struct

from modeldeploy.schema.tasks import TaskSchema, answered, file_fields

Schema = dict[str, Any]


class File(click.File):
    """A file (- is stdin) that goes into JSON as base64."""

    def __init__(self) -> None:
        super().__init__("rb")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        with super().convert(value, param, ctx) as stream:
            return base64.b64encode(stream.read()).decode("ascii")


class Json(click.ParamType):  # type: ignore[type-arg]  # generic in click's newest only
    """JSON; ``@FILE`` reads it from there."""

    name = "JSON"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            if value.startswith("@"):
                return msgspec.json.decode(Path(value[1:]).read_bytes())
            return msgspec.json.decode(value)
        except OSError as error:
            self.fail(f"cannot read {value[1:]}: {error.strerror}", param, ctx)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self.fail(f"this is not JSON: {error}", param, ctx)


def options(task: TaskSchema) -> list[click.Option]:
    """One for each field that a request to the task may have; none of them is required, as the
    first is also what stands after the name."""
    kinds = [kind for one in answered(task) for kind in (one.inputs, one.parameters)]
    found = {one[0]: one for kind in kinds for one in _fields(kind)}
    made = [_option(*one) for one in found.values()]
    if task.hf.streamed:
        made.append(
            click.Option(["--stream"], is_flag=True, help="Show the text as it is written.")
        )
    return made


def body(task: TaskSchema, inputs: tuple[str, ...], given: Mapping[str, Any]) -> dict[str, Any]:
    """The native request: ``inputs`` are its first field's texts or files, ``given`` its options.

    Raises:
        click.UsageError: a file cannot be read, or the task takes one input at a time.
    """
    found = {name: value for name, value in given.items() if value not in (None, ())}
    if not inputs:
        return found
    first = task.inputs.__struct_fields__[0]
    is_file = first in file_fields(task.inputs)
    values = [File().convert(one, None, None) if is_file else _text(one) for one in inputs]
    if len(values) == 1:
        return {first: values[0], **found}
    if task.many is None:
        raise click.UsageError(f"{task.name} takes one {first} at a time")
    return {task.many[1]: values, **found}


def _text(given: str) -> str:
    return sys.stdin.read() if given == "-" else given


def _fields(kind: type[Struct]) -> Iterator[tuple[str, Schema, list[Schema]]]:
    """Each field's name, its schema, and what it may be beside null."""
    _, parts = msgspec.json.schema_components((kind,))
    for name, schema in parts[kind.__name__]["properties"].items():
        kinds = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
        yield name, schema, kinds


def _option(name: str, schema: Schema, kinds: list[Schema]) -> click.Option:
    flag = f"--{name.replace('_', '-')}"
    types = {one.get("type") for one in kinds}
    how: dict[str, Any] = {"help": _help(schema, kinds), "default": None}
    if any("contentEncoding" in one for one in kinds):
        how |= {"type": File(), "metavar": "FILE"}
    elif types == {"boolean"}:
        flag = f"{flag}/--no-{name.replace('_', '-')}"
    elif len(kinds) == 1 and "enum" in kinds[0] and types != {"boolean"}:
        how["type"] = _choice(kinds[0]["enum"])
    elif types in ({"integer"}, {"number"}):
        how["type"] = _number(kinds[0])
    elif types == {"string"}:
        how["type"] = click.STRING
    elif any(one.get("items", {}).get("type") == "string" for one in kinds):
        how |= {"type": click.STRING, "multiple": True, "default": ()}
    else:
        how["type"] = Json()
    return click.Option([flag, name], **how)


def _choice(values: list[Any]) -> click.Choice[str] | Json:
    return click.Choice(values) if all(isinstance(one, str) for one in values) else Json()


def _number(schema: Schema) -> click.IntRange | click.FloatRange:
    low, high = (schema.get(f"exclusive{end}", schema.get(end.lower())) for end in _ENDS)
    if high is not None and high > _WORTH_TELLING:
        high = None
    if schema["type"] == "integer":
        return click.IntRange(low, high)
    opens = [f"exclusive{end}" in schema for end in _ENDS]
    return click.FloatRange(low, high, min_open=opens[0], max_open=opens[1] and high is not None)


_ENDS = ("Minimum", "Maximum")
_WORTH_TELLING = 10**9


def _help(schema: Schema, kinds: list[Schema]) -> str:
    said = next((one["description"] for one in (schema, *kinds) if one.get("description")), "")
    default = schema.get("default")
    if default not in (None, [], ""):
        shown = default if isinstance(default, str) else msgspec.json.encode(default).decode()
        said = f"{said}  [default: {shown}]".strip()
    is_list = any(one.get("type") == "array" for one in kinds)
    return f"{said} May be given again.".strip() if is_list else said
