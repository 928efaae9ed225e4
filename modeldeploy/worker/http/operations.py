"""What a deployment answers, as data: one source for OpenAPI, ``/info`` and ``docs/tasks.md``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from modeldeploy.schema.tasks import TaskSchema, alternatives, file_fields, native_request
from modeldeploy.schema.worker import Limits
from modeldeploy.worker.http.routing import FORM, JSON

Schema = dict[str, Any]

_ERRORS = {
    "400": "The body is not JSON.",
    "401": "An API key of this deployment is wanted.",
    "403": "A foreign page sent it.",
    "404": "It is not here.",
    "406": "JSON is not accepted.",
    "408": "The body came too slowly.",
    "413": "The body is too large.",
    "415": "The content type is another.",
    "421": "It is addressed to another host.",
    "422": "The body is not what the schema asks for, or the model cannot take it.",
    "429": "Too many requests are waiting; see Retry-After.",
    "500": "The model failed on this input.",
    "503": "The model is not ready; see Retry-After.",
    "504": "It took too long.",
}


class Schemas:
    """JSON schemas of types; what they refer to is collected in ``parts``, by its name."""

    def __init__(self) -> None:
        self.parts: dict[str, Schema] = {}

    def of(self, kind: Any) -> Schema:
        """The schema of ``kind``. Two types of one name would be a bug of ours."""
        found, parts = msgspec.json.schema_components(
            alternatives(kind), ref_template="#/components/schemas/{name}"
        )
        for name, part in parts.items():
            if self.parts.setdefault(name, part) != part:
                raise AssertionError(f"two types are named {name}")
        return found[0] if len(found) == 1 else {"anyOf": [*found]}


@dataclass(frozen=True)
class Operation:
    """One method of one path. ``content`` is its body by media type, ``answers`` what comes back
    by status: OpenAPI's own media type and response objects."""

    method: Literal["get", "post"]
    path: str
    summary: str
    answers: Mapping[str, Schema]
    content: Mapping[str, Schema] = field(default_factory=dict)

    @property
    def example(self) -> Any:
        """A body of JSON that works when sent, or None."""
        return self.content.get(JSON, {}).get("example")

    def item(self) -> Schema:
        """OpenAPI's operation object."""
        words = [self.method, *"".join(c if c.isalnum() else " " for c in self.path).split()]
        found: Schema = {
            "summary": self.summary,
            "operationId": "_".join(words),
            "responses": self.answers,
        }
        if self.content:
            found["requestBody"] = {"required": True, "content": self.content}
        return found


@dataclass(frozen=True)
class About:
    """What operations depend on. ``deployment`` and ``model_id`` are names in paths and bodies,
    ``version`` is the model's commit, or 1 where it has none, ``conversations`` says whether a
    model that writes has a chat template, as far as is known."""

    task: TaskSchema
    deployment: str
    model_id: str
    version: str = "1"
    limits: Limits = field(default_factory=Limits)
    conversations: bool = True
    schemas: Schemas = field(default_factory=Schemas)


def any_of(schemas: Sequence[Schema]) -> Schema:
    return schemas[0] if len(schemas) == 1 else {"anyOf": [*schemas]}


def answer(description: str, schema: Schema, media_type: str = JSON) -> Schema:
    """OpenAPI's response object."""
    return {"description": description, "content": {media_type: {"schema": schema}}}


def bodies(schema: Schema, example: Any) -> dict[str, Schema]:
    """A body of JSON."""
    return {JSON: {"schema": schema, "example": example}}


def media_bodies(about: About) -> dict[str, Schema]:
    """Bodies that are the bare medium itself, and forms with it; none where the task has no files."""
    task = about.task
    bare = {kind: {"schema": _BINARY} for kind in task.media}
    files = file_fields(task.inputs)
    return {FORM: {"schema": _form(about, files)}, **bare} if files else bare


_BINARY: Schema = {"type": "string", "format": "binary"}


def _form(about: About, files: Sequence[str]) -> Schema:
    """The native request's fields, files as parts. Without the plural of a file, which is that part
    given again: Swagger UI would send a text in its place beside the file that was chosen."""
    kind = native_request(about.task)
    name = kind.__name__
    if name not in about.schemas.parts:
        about.schemas.of(kind)
    fields = about.schemas.parts[name]["properties"]
    parts: Schema = {
        one: {"$ref": f"#/components/schemas/{name}/properties/{one}"} for one in fields
    }
    for one in files:
        parts[one] = _BINARY
    if about.task.many and about.task.many[0] in files:
        del parts[about.task.many[1]]
    return {"type": "object", "properties": parts}


def events(schema: Schema) -> Schema:
    """OpenAPI's media type object of server-sent events with JSON in them."""
    data = {"type": "string", "contentMediaType": JSON, "contentSchema": schema}
    return {"schema": {"type": "object", "properties": {"data": data}, "required": ["data"]}}


def errors(schema: Schema) -> dict[str, Schema]:
    """What a prediction may be answered when it is not made, each in a dialect's own shape."""
    return {status: answer(text, schema) for status, text in _ERRORS.items()}
