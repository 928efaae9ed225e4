"""What every task owes: whoever adds one is told here what is missing."""

from __future__ import annotations

import contextlib
import inspect
from pathlib import Path
from typing import Any

import msgspec
import pytest

from modeldeploy.schema.tasks import TASKS, TaskSchema, alternatives
from modeldeploy.worker.dialects import kinds, oip_tensors
from modeldeploy.worker.http.operations import About, Operation
from modeldeploy.worker.http.pages import Pages
from modeldeploy.worker.http.routing import JSON

TESTS = Path(__file__).parent / "tasks"
EVERY = pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)


def about(task: TaskSchema) -> About:
    return About(task=task, deployment="demo", model_id="org/demo")


@EVERY
def test_it_has_an_example_and_a_result_of_its_output(task: TaskSchema) -> None:
    assert task.example
    _result(task)


def _result(task: TaskSchema) -> Any:
    """The schema's result as one of the types that the output may be."""
    *others, last = alternatives(task.output)
    for kind in others:
        with contextlib.suppress(msgspec.ValidationError):
            return msgspec.convert(task.result, kind)
    return msgspec.convert(task.result, last)


@EVERY
def test_it_has_tests_on_a_model(task: TaskSchema) -> None:
    adapter = task.adapter.partition(":")[0].rpartition(".")[2]
    assert any((TESTS / f"test_{name}.py").is_file() for name in (_plain(task.name), adapter))


def _plain(name: str) -> str:
    return name.replace("-", "_")


@EVERY
def test_the_general_dialects_speak_of_it_with_an_example(task: TaskSchema) -> None:
    for name in ("native", "huggingface", "oip"):
        operations = kinds()[name].operations(about(task))
        assert operations[0].method == "post", name
    for operation in _all(about(task)):
        assert operation.summary
        assert (operation.example is None) == (JSON not in operation.content), operation.path


def _all(where: About) -> list[Operation]:
    spoken = [one for kind in kinds().values() for one in kind.operations(where)]
    return [*spoken, *Pages.operations(where)]


@EVERY
def test_its_operations_are_distinct_and_refer_to_schemas_that_are_there(task: TaskSchema) -> None:
    where = about(task)
    operations = _all(where)
    items = {(one.method, one.path): one.item() for one in operations}
    assert len(items) == len(operations)
    assert len({item["operationId"] for item in items.values()}) == len(items)
    document = {"components": {"schemas": where.schemas.parts}}
    for reference in _referred([items, where.schemas.parts]):
        node: Any = document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]


def _referred(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*(_referred(child) for child in node.values()))
    if isinstance(node, list):
        return set().union(*(_referred(child) for child in node))
    return set()


@EVERY
def test_no_dialect_knows_it_by_name(task: TaskSchema) -> None:
    for kind in kinds().values():
        for file in Path(inspect.getfile(kind)).parent.glob("*.py"):
            assert f'"{task.name}"' not in file.read_text(), file


@EVERY
def test_its_result_becomes_the_tensors_that_its_metadata_names(task: TaskSchema) -> None:
    result = _result(task)
    promised = {one.name: one for one in oip_tensors.given(task)}
    for made in oip_tensors.outputs(task, [result, result]):
        assert made.datatype == promised[made.name].datatype
        assert made.shape[0] == 2
        assert len(made.shape) == len(promised[made.name].shape)


@EVERY
def test_a_bare_body_is_a_file_in_base64_elsewhere(task: TaskSchema) -> None:
    if task.media:
        first = task.inputs.__struct_fields__[0]
        schema = msgspec.json.schema(task.inputs)["$defs"][task.inputs.__name__]
        field = schema["properties"][first]
        encodings = [one.get("contentEncoding") for one in field.get("anyOf", [field])]
        assert encodings[0] == "base64"
