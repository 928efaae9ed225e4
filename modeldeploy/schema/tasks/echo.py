"""The task that needs no model: it drives the tests of everything around one."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from modeldeploy.schema.tasks.base import TaskSchema
from modeldeploy.schema.tasks.text import Text


class EchoParameters(Struct, frozen=True, kw_only=True):
    delay: Annotated[float, Meta(ge=0, le=600, description="Seconds of pretended work.")] = 0.0
    fail: Annotated[bool, Meta(description="Raise instead of answering.")] = False


class Echoed(Struct, frozen=True):
    text: str


ECHO = TaskSchema(
    name="echo",
    model_type="nlp",
    inputs=Text,
    parameters=EchoParameters,
    output=list[Echoed],
    many=("text", "texts"),
    example={"text": "hello"},
    result=[{"text": "hello"}],
    auto_class="",
    adapter="modeldeploy.worker.tasks.echo:Echo",
)

TASKS = (ECHO,)
