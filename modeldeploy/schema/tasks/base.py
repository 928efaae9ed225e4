"""One definition per task: inputs, parameters, output and an example that works when sent."""

from __future__ import annotations

from functools import cache
from typing import Any, get_type_hints

import msgspec
from msgspec import NODEFAULT, Struct
from msgspec.structs import FieldInfo, fields

from modeldeploy.schema.deployment import ModelType


class TaskSchema(Struct, frozen=True, kw_only=True, dict=True):
    """A task as data.

    ``inputs`` is one item to predict, ``parameters`` what steers it, ``output`` the native
    ``result`` for one item. ``many`` names the plural field (``texts`` for ``text``) where a
    request may carry several items. ``media`` are the media types (``image/*``) of a raw body
    that is the first input field itself. ``smoke`` stands in for an ``example`` that would be
    slow. ``adapter`` is the worker's ``"module:Class"``.
    """

    name: str
    model_type: ModelType
    inputs: type[Struct]
    parameters: type[Struct]
    output: Any
    example: dict[str, Any]
    adapter: str
    aliases: tuple[str, ...] = ()
    many: tuple[str, str] | None = None
    media: tuple[str, ...] = ()
    smoke: dict[str, Any] | None = None

    def smoke_body(self) -> dict[str, Any]:
        """The body of the first prediction after a start: the example, or a quicker one."""
        return self.smoke or self.example

    def __hash__(self) -> int:
        return hash(self.name)


def _as_argument(owner: type[Struct], info: FieldInfo) -> tuple[str, Any, Any]:
    kind = get_type_hints(owner, include_extras=True)[info.name]
    if info.default_factory is not NODEFAULT:
        return info.name, kind, msgspec.field(default_factory=info.default_factory)
    return info.name, kind, info.default


@cache
def native_request(task: TaskSchema) -> type[Struct]:
    """The body of ``POST /predict``: inputs and parameters side by side, unknown fields refused.

    Where the task takes many, the singular and the plural field are both optional here; the
    native dialect demands exactly one of them.
    """
    columns: list[Any] = []
    for info in fields(task.inputs):
        name, kind, default = _as_argument(task.inputs, info)
        if task.many and name == task.many[0]:
            columns.append((name, kind | None, None))
            columns.append((task.many[1], list[kind] | None, None))  # type: ignore[valid-type] # a type made at run time
        elif default is NODEFAULT:
            columns.append((name, kind))
        else:
            columns.append((name, kind, default))
    for info in fields(task.parameters):
        columns.append(_as_argument(task.parameters, info))
    title = "".join(part.capitalize() for part in task.name.split("-")) + "Request"
    return msgspec.defstruct(title, columns, kw_only=True, forbid_unknown_fields=True)
