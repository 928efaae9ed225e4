"""``predict``: the options of a task, the body that is made of them, and what is shown."""

from __future__ import annotations

import base64
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from modeldeploy.cli import fields
from modeldeploy.cli.readable import readable
from modeldeploy.schema.states import Desired, State
from modeldeploy.schema.tasks import TASKS, TaskSchema, answered, native_request
from tests.cli.conftest import Run
from tests.cli.fake_supervisor import FakeSupervisor
from tests.cli.stories import deployment

WAV = b"RIFF, not really"


class Worker:
    """A deployment's port; ``asked`` are the bodies, as JSON or with their content type."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["content-length"]))
                status, body = outer.answer(raw, self.headers["content-type"])
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, raw: bytes, kind: str) -> tuple[int, bytes]:
        body = json.loads(raw) if kind == "application/json" else (kind, raw)
        self.asked.append(body)
        if b"poison" in raw:
            error = {"code": "input_too_long", "message": "too long", "hint": "cut it"}
            return 422, json.dumps({"status": "error", "error": error}).encode()
        if isinstance(body, dict) and body.get("stream"):
            texts = ("Once", " upon") if body["text"] != "ends badly" else ("Once",)
            events: list[Any] = [{"index": 1, "token": {"text": text}} for text in texts]
            if len(texts) == 1:
                error = {"code": "prediction_failed", "message": "it broke"}
                events.append({"status": "error", "error": error})
            return 200, b"".join(b"data: %s\n\n" % json.dumps(one).encode() for one in events)
        result: Any = [{"generated_text": "x!"}]
        if isinstance(body, dict) and body.get("text") == "say it":
            result = {"audio": base64.b64encode(WAV).decode(), "sampling_rate": 8000}
        return 200, json.dumps({"result": result}).encode()


@pytest.fixture
def two(fake: FakeSupervisor) -> FakeSupervisor:
    fake.deployments["a"] = deployment("a", state=State.RUNNING)
    fake.deployments["b"] = deployment("b", state=State.STOPPED, desired=Desired.STOPPED)
    return fake


@pytest.fixture
def worker(two: FakeSupervisor) -> Iterator[Worker]:
    found = Worker()
    two.change("a", port=found.server.server_port)
    yield found
    found.server.shutdown()
    found.server.server_close()


def does(fake: FakeSupervisor, task: str) -> None:
    fake.change("a", task=task, example=TASKS[task].example)


def test_it_asks_over_http_and_shows_the_result(worker: Worker, run: Run, tmp_path: Path) -> None:
    assert run("predict", "a", "Once").out == "x!\n"
    assert run("predict", "a", "-d", '{"text": "x"}', "--json").json["result"]
    (tmp_path / "7.png").write_bytes(b"not really")
    assert run("predict", "a", "--file", "7.png").code == 0
    assert worker.asked == [{"text": "Once"}, {"text": "x"}, ("image/png", b"not really")]
    bad = run("predict", "a", "poison", "--json")
    assert (bad.code, bad.error["code"]) == (2, "input_too_long")


def test_nobody_at_the_port_is_told(two: FakeSupervisor, run: Run) -> None:
    worker = Worker()
    two.change("a", port=worker.server.server_port)
    worker.server.shutdown()
    worker.server.server_close()
    gone = run("predict", "a", "Once")
    assert gone.code == 1
    assert "does not answer" in gone.err


def test_it_says_what_the_task_wants(two: FakeSupervisor, run: Run) -> None:
    assert "Once upon a time" in run("predict", "a").err
    does(two, "question-answering")
    assert "question" in run("predict", "a").err
    assert run("predict", "a", "-d", "{").code == 2
    assert run("predict", "a", "x", "-d", "{}").code == 2
    stopped = run("predict", "b", "x", "--json")
    assert (stopped.code, stopped.error["code"]) == (1, "not_ready")


def test_the_options_are_the_tasks_own(two: FakeSupervisor, worker: Worker, run: Run) -> None:
    assert "--max-new-tokens" in run("predict", "a", "--help").out
    assert "--max-new-tokens" not in run("predict", "--help").out
    options = ("--max-new-tokens", "4", "--stop", "a", "--stop", "b", "--no-do-sample")
    assert run("predict", "a", "Once", *options, "--temperature", "0.5").code == 0
    assert worker.asked.pop() == {
        "text": "Once",
        "max_new_tokens": 4,
        "stop": ["a", "b"],
        "do_sample": False,
        "temperature": 0.5,
    }
    does(two, "question-answering")
    assert run("predict", "a", "--question", "Who?", "--context", "Ada.").code == 0
    assert worker.asked.pop() == {"question": "Who?", "context": "Ada."}
    for wrong in (("--top-k", "0"), ("--top-k", "many"), ("--zork",)):
        assert run("predict", "a", "Who?", *wrong).code == 2
    gone = run("predict", "nobody", "x", "--top-k", "1", "--json")
    assert gone.error["code"] == "deployment_not_found"


def test_files_go_as_base64_and_several_inputs_as_a_list(
    two: FakeSupervisor, worker: Worker, run: Run, tmp_path: Path
) -> None:
    does(two, "image-classification")
    for name in ("1.png", "2.png"):
        (tmp_path / name).write_bytes(name.encode())
    one, other = (base64.b64encode(name).decode() for name in (b"1.png", b"2.png"))
    assert run("predict", "a", "1.png", "--top-k", "1").code == 0
    assert run("predict", "a", "1.png", "2.png").code == 0
    assert run("predict", "a", "--image", "2.png").code == 0
    assert worker.asked == [{"image": one, "top_k": 1}, {"images": [one, other]}, {"image": other}]
    assert run("predict", "a", "3.png").code == 2
    does(two, "question-answering")
    assert run("predict", "a", "one", "two").code == 2


def test_structures_are_json_or_files_of_it(
    two: FakeSupervisor, worker: Worker, run: Run, tmp_path: Path
) -> None:
    does(two, "table-question-answering")
    table = {"name": ["Ada"], "age": ["36"]}
    (tmp_path / "t.json").write_text(json.dumps(table))
    for given in (json.dumps(table), "@t.json"):
        assert run("predict", "a", "How old?", "--table", given).code == 0
        assert worker.asked.pop() == {"query": "How old?", "table": table}
    for given in ("{", "@nothing.json"):
        assert run("predict", "a", "How old?", "--table", given).code == 2


def test_a_stream_is_shown_as_it_comes(worker: Worker, run: Run) -> None:
    assert run("predict", "a", "x", "--stream").out == "Once upon\n"
    lines = run("predict", "a", "x", "--stream", "--json").out.splitlines()
    assert [json.loads(line)["token"]["text"] for line in lines] == ["Once", " upon"]
    broken = run("predict", "a", "ends badly", "--stream")
    assert broken.code == 1
    assert "it broke" in broken.err
    assert run("predict", "a", "poison", "--stream").code == 2


def test_a_sound_is_written(two: FakeSupervisor, worker: Worker, run: Run, tmp_path: Path) -> None:
    does(two, "text-to-speech")
    assert run("predict", "a", "say it", "-o", "said.wav").out == "said.wav\n"
    assert (tmp_path / "said.wav").read_bytes() == WAV
    assert run("predict", "a", "anything else", "-o", "said.wav").code == 2
    assert run("predict", "a", "say it", "-o", "no/such/folder.wav").code == 2


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_every_field_of_every_task_has_an_option(task: TaskSchema) -> None:
    made = fields.options(task)
    wanted = {name for one in answered(task) for name in native_request(one).__struct_fields__}
    plural = {one.many[1] for one in answered(task) if one.many}
    assert {one.name for one in made} == wanted - plural
    command = click.Command("predict", params=[*made])
    assert command.get_help(click.Context(command))


@pytest.mark.parametrize(
    ("result", "shown"),
    [
        (
            [{"label": "A", "score": 0.5}, {"label": "long", "score": 0.25}],
            "A     0.5000\nlong  0.2500",
        ),
        ({"labels": ["a"], "scores": [1.0], "sequence": "s"}, "a  1.0000"),
        ({"summary_text": "short"}, "short"),
        (
            [[{"label": "A", "score": 0.5}], [{"label": "B", "score": 0.5}]],
            "A  0.5000\n\nB  0.5000",
        ),
        ([{"entity_group": "PER", "word": "Ada", "score": 0.9}], "PER  0.9000  Ada"),
        (
            [{"label": "cat", "score": 0.9, "box": {"xmin": 1, "ymin": 2}}],
            "cat  0.9000  xmin 1 ymin 2",
        ),
        ([], "[]"),
        ([0.5, 1], "[\n  0.5,\n  1\n]"),
    ],
)
def test_results_are_readable(result: Any, shown: str) -> None:
    assert readable(result) == shown


def test_a_file_in_a_result_is_not_poured_over_the_terminal() -> None:
    assert "whole with --json" in readable({"depth": "A" * 1000})
