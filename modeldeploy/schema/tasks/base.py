"""One definition per task: inputs, parameters, output and an example that works when sent."""

from __future__ import annotations

from functools import cache, cached_property
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import NODEFAULT, Struct
from msgspec.structs import FieldInfo, fields

from modeldeploy.schema.deployment import ModelType


class HuggingFace(Struct, frozen=True, kw_only=True):
    """Where the Hugging Face dialect differs from the native one.

    ``defaults`` stand for parameters that a request leaves out, ``listed`` says that the result
    for one input comes as a list of that one result, ``binary`` is the media type of a result
    whose bytes (its first field) are the whole answer, ``streamed`` the type of an event where the
    answer may come piece by piece.
    """

    defaults: dict[str, Any] = {}
    listed: bool = False
    binary: str | None = None
    streamed: type[Struct] | None = None


# What clients of other servers know by a route of its own, where a task can do it.
Ability = Literal["chat", "completions", "embeddings", "rerank", "tokenize", "transcriptions"]


class TaskSchema(Struct, frozen=True, kw_only=True, dict=True):
    """A task as data.

    ``inputs`` is one item to predict, ``parameters`` what steers it, ``output`` the native
    ``result`` for one item. ``many`` names the plural field (``texts`` for ``text``) where a
    request may carry several items. ``media`` are the media types (``image/*``) of a raw body
    that is the first input field itself. ``example`` is a native body that works when sent, and
    ``result`` what such a request is answered, in shape; ``smoke`` stands in for an ``example``
    that would be slow. ``auto_class`` names transformers' class that loads the model, ``adapter``
    is the worker's ``"module:Class"``. ``twin`` is another task of the same adapter, whose inputs
    are answered too. ``abilities`` are what OpenAI's and Text Embeddings Inference's clients may
    ask of it.
    """

    name: str
    model_type: ModelType
    inputs: type[Struct]
    parameters: type[Struct]
    output: Any
    example: dict[str, Any]
    result: Any
    auto_class: str
    adapter: str
    hf: HuggingFace = HuggingFace()
    aliases: tuple[str, ...] = ()
    many: tuple[str, str] | None = None
    media: tuple[str, ...] = ()
    smoke: dict[str, Any] | None = None
    twin: str | None = None
    abilities: frozenset[Ability] = frozenset()

    def smoke_body(self) -> dict[str, Any]:
        """The body of the first prediction after a start: the example, or a quicker one."""
        return self.smoke or self.example

    @cached_property
    def required(self) -> tuple[str, ...]:
        """The input's fields that must be given."""
        return tuple(info.name for info in fields(self.inputs) if info.required)

    @property
    def single(self) -> str | None:
        """The input's only required field, if there is one: what HF's ``inputs`` then is itself."""
        return self.required[0] if len(self.required) == 1 else None

    def __hash__(self) -> int:
        return hash(self.name)


def _as_argument(owner: type[Struct], info: FieldInfo) -> tuple[str, Any, Any]:
    kind = get_type_hints(owner, include_extras=True)[info.name]
    if info.default_factory is not NODEFAULT:
        return info.name, kind, msgspec.field(default_factory=info.default_factory)
    return info.name, kind, info.default


def _columns(owner: type[Struct], defaults: dict[str, Any]) -> list[Any]:
    """The fields of ``owner`` as :func:`msgspec.defstruct` takes them."""
    columns: list[Any] = []
    for info in fields(owner):
        name, kind, default = _as_argument(owner, info)
        default = defaults.get(name, default)
        columns.append((name, kind) if default is NODEFAULT else (name, kind, default))
    return columns


def _title(task: TaskSchema, what: str) -> str:
    return "".join(part.capitalize() for part in task.name.split("-")) + what


def _strict(title: str, columns: list[Any]) -> type[Struct]:
    return msgspec.defstruct(title, columns, kw_only=True, forbid_unknown_fields=True)


def alternatives(kind: Any) -> tuple[Any, ...]:
    """The types of a union, each of which msgspec takes where it might refuse the union itself
    (two of them lists); of any other type, that type alone."""
    return get_args(kind) if get_origin(kind) in {Union, UnionType} else (kind,)


@cache
def native_request(task: TaskSchema) -> type[Struct]:
    """The body of ``POST /predict``: inputs and parameters side by side, unknown fields refused.

    Where the task takes many, the singular and the plural field are both optional here; the
    native dialect demands exactly one of them.
    """
    columns: list[Any] = []
    for column in _columns(task.inputs, {}):
        if task.many and column[0] == task.many[0]:
            kind = column[1]
            columns.append((column[0], kind | None, None))
            columns.append((task.many[1], list[kind] | None, None))  # type: ignore[valid-type] # a type made at run time
        else:
            columns.append(column)
    columns += _columns(task.parameters, {})
    if task.hf.streamed:
        columns.append(("stream", bool, False))
    return _strict(_title(task, "Request"), columns)


@cache
def task_parameters(task: TaskSchema) -> type[Struct]:
    """The task's own parameters, unknown fields refused."""
    return _strict(_title(task, "TaskParameters"), _columns(task.parameters, {}))


@cache
def hf_input(task: TaskSchema) -> Any:
    """The type of one of the Hugging Face dialect's ``inputs``: the only required field's own, or
    an object."""
    if task.single:
        return get_type_hints(task.inputs, include_extras=True)[task.single]
    return _strict(_title(task, "Inputs"), _columns(task.inputs, {}))


@cache
def hf_parameters(task: TaskSchema) -> type[Struct]:
    """The Hugging Face dialect's ``parameters``, unknown fields refused. Where ``inputs`` is a
    single field, optional fields of the input stand here too."""
    columns = _columns(task.parameters, task.hf.defaults)
    if task.single:
        columns += [one for one in _columns(task.inputs, {}) if one[0] != task.single]
    return _strict(_title(task, "Parameters"), columns)
