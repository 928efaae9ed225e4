"""The line to paste at the end of a deploy."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import asdict

from modeldeploy.cli.summary import curl
from modeldeploy.schema.tasks import TASKS, TaskSchema, file_fields
from modeldeploy.worker.http import requests
from tests.cli.conftest import Run
from tests.cli.fake_supervisor import FakeSupervisor
from tests.cli.stories import deployment

LONGEST = 700  # characters that somebody still looks at
FILES = {".png", ".wav", ".gif"}


def parts_of(words: list[str]) -> dict[str, Any]:
    """The form that curl makes of its arguments: files as bytes."""
    parts: dict[str, Any] = {}
    for flag, given in zip(words[::2], words[1::2], strict=True):
        name, _, value = given.partition("=")
        if flag == "-F":
            assert value[0] == "@"
            assert Path(value[1:]).suffix in FILES
            parts[name] = b"file"
        else:
            assert flag == "--form-string"
            parts[name] = value
    return parts


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_it_is_the_example_with_a_file_in_the_place_of_a_medium(task: TaskSchema) -> None:
    line = curl(deployment(task=task.name, example=task.example))
    assert len(line) < LONGEST
    _, url, *words = shlex.split(line)
    assert url == "http://127.0.0.1:8100/predict"
    files = {*file_fields(task.inputs)} & {*task.example}
    if not files:
        assert json.loads(words[-1]) == task.example
        return
    asked = requests.from_form(task, parts_of(words), most=1)
    wanted = requests.example(task, task.example)
    assert asked.parameters == wanted.parameters
    (given,), (example,) = map(asdict, asked.inputs), map(asdict, wanted.inputs)
    assert given == {**example, **dict.fromkeys(files, b"file")}


def test_what_there_is_to_predict_on_is_told_without_a_file_in_it(
    fake: FakeSupervisor, run: Run
) -> None:
    task = TASKS["automatic-speech-recognition"]
    fake.deployments["a"] = deployment("a", task=task.name, example=task.example)
    refused = run("predict", "a")
    assert refused.code == 2
    assert "modeldeploy predict a audio.wav" in refused.err
    assert len(refused.err) < LONGEST
