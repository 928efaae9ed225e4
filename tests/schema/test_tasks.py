"""The table of tasks holds together: whoever adds a line is told here what is missing."""

from __future__ import annotations

import importlib

import msgspec
import pytest

from modeldeploy.schema.tasks import ALIASES, TASKS, TaskSchema, find, native_request

EVERY = pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)


@EVERY
def test_the_example_and_the_smoke_body_are_valid_requests(task: TaskSchema) -> None:
    for body in (task.example, task.smoke_body()):
        msgspec.convert(body, native_request(task))


@EVERY
def test_unknown_fields_are_refused_and_named(task: TaskSchema) -> None:
    with pytest.raises(msgspec.ValidationError, match="no_such_field"):
        msgspec.convert({**task.example, "no_such_field": 1}, native_request(task))


@EVERY
def test_every_field_has_its_schema(task: TaskSchema) -> None:
    schema = msgspec.json.schema(native_request(task))
    assert schema["$defs"]


@EVERY
def test_the_adapter_is_where_the_table_says(task: TaskSchema) -> None:
    module, _, name = task.adapter.partition(":")
    assert hasattr(importlib.import_module(module), name)


def test_an_alias_finds_its_task_and_nothing_else() -> None:
    assert find("sentiment-analysis") is TASKS["text-classification"]
    assert find("text-classification") is TASKS["text-classification"]
    assert find("no-such-task") is None
    assert not set(ALIASES) & set(TASKS)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"text": 1}, "text"),
        ({"text": "a", "top_k": 0}, "top_k"),
        ({"text": "a", "function_to_apply": "magic"}, "function_to_apply"),
        ({"texts": ["a", None]}, "texts"),
    ],
)
def test_what_is_wrong_is_named(body: dict[str, object], field: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=rf"\$\.{field}"):
        msgspec.convert(body, native_request(TASKS["text-classification"]))
