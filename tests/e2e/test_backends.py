"""A backend that was asked for: had, told of, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.instance import Instance, eventually, get, post
from tests.models import seq2seq

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
MODEL = "builtin/sentiment"


def test_options_that_contradict_each_other_are_refused_at_once(instance: Instance) -> None:
    done = instance.run("deploy", MODEL, "--backend", "onnx", "--no-optimize", ok=False)
    assert done.returncode == 2
    assert "--backend onnx runs another form of the model, and --no-optimize" in done.stderr
    done = instance.run("deploy", MODEL, "--backend", "onnx", "--dtype", "float16", ok=False)
    assert done.returncode == 2
    assert instance.names() == []


def test_a_task_without_graphs_is_refused_a_backend_of_graphs(
    instance: Instance, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    model = str(seq2seq.t5(tmp_path / "model"))
    done = instance.run(
        "deploy", model, "--name", "m", "--task", "summarization", "--backend", "onnx", ok=False
    )
    assert done.returncode == 3
    assert instance.inspect("m")["error"]["code"] == "unsupported_task"
    assert "--backend onnx is not for summarization" in done.stderr


def test_the_graph_that_was_asked_for_answers_and_inspect_tells(instance: Instance) -> None:
    pytest.importorskip("onnxruntime")
    url = instance.deploy(MODEL, "--name", "m", "--backend", "onnx")["url"]
    body = {"text": "I love it"}
    before = post(f"{url}/predict", body)

    def runs() -> dict[str, str]:
        found: dict[str, str] = instance.inspect("m")["replicas"][0]["runs"]
        return found

    eventually(lambda: runs().get("graph", "").startswith("ONNX Runtime"))
    eventually(lambda: runs() == get(f"{url}/info")[1]["runs"])  # calls are measured meanwhile
    after = post(f"{url}/predict", body)
    assert after[0] == before[0] == 200
    assert after[1]["result"][0]["label"] == before[1]["result"][0]["label"]
