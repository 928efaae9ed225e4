"""Small requests that ask for much, from clients that wait and from clients that leave: what others
ask goes on. (Sizes and limits are smaller here than those that were met.)"""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from modeldeploy import builtin
from modeldeploy.schema.tasks.media import EXAMPLE_PNG
from modeldeploy.schema.worker import Limits
from modeldeploy.worker import effort
from modeldeploy.worker.tasks import images, templates
from modeldeploy.worker.tasks.tokens import Tokens
from tests.clients.served import Served, served
from tests.models import tiny
from tests.worker.live import eventually

STEP = 0.05  # seconds that a counted step takes at least
STEPS = 60
SECONDS = 30.0
LOOPS = "{% for a in range(99999) %}" * 3 + "{% endfor %}" * 3


class Counted:
    """A function that takes its time, and how often it was called."""

    def __init__(self, patch: pytest.MonkeyPatch, where: Any, name: str) -> None:
        function = getattr(where, name)
        self.calls = 0

        def counted(*arguments: Any, **named: Any) -> Any:
            self.calls += 1
            time.sleep(STEP)
            return function(*arguments, **named)

        patch.setattr(where, name, counted)


@pytest.fixture(scope="module")
def sentiment() -> Iterator[Served]:
    with served(builtin.path("sentiment"), "text-classification") as one:
        yield one


@pytest.fixture(scope="module")
def digits() -> Iterator[Served]:
    with served(builtin.path("digits"), "image-classification") as one:
        yield one


@pytest.fixture(scope="module")
def narrow() -> Iterator[Served]:
    """With room for eight bodies of a megabyte."""
    limits = Limits(max_body_bytes=1 << 20)
    with served(builtin.path("sentiment"), "text-classification", limits=limits) as one:
        yield one


def ask(one: Served, path: str, body: Any) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", one.port, timeout=SECONDS)
    with contextlib.closing(connection):
        headers = {"content-type": "application/json"}
        connection.request("POST", path, json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


@contextlib.contextmanager
def waiting(one: Served, path: str, body: Any) -> Iterator[None]:
    """A client that has asked, and leaves at the end of ``with``."""
    raw = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", one.port)) as client:
        client.sendall(head.encode() + f"content-length: {len(raw)}\r\n\r\n".encode() + raw)
        yield


def left_in_the_middle(one: Served, path: str, body: Any, steps: Counted) -> int:
    """Two clients ask, and leave when it has begun: how many steps were done when nobody was
    there any more."""
    with waiting(one, path, body), waiting(one, path, body):
        eventually(lambda: steps.calls >= 2)
    eventually(lambda: one.state.in_flight == 0)
    return steps.calls


def black(side: int) -> str:
    file = io.BytesIO()
    Image.new("1", (side, side)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.mark.promise(18, fault="nine large bodies that stall one byte before their end")
def test_who_stalls_shuts_nobody_out(narrow: Served) -> None:
    head = "POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    raw = f"{head}content-length: {1 << 20}\r\n\r\n".encode() + b" " * ((1 << 20) - 1)
    with contextlib.ExitStack() as stack:
        for _ in range(9):
            client = socket.create_connection(("127.0.0.1", narrow.port))
            stack.enter_context(client).sendall(raw)
        eventually(lambda: narrow.state.in_flight >= 7)
        time.sleep(0.1)
        assert [ask(narrow, "/predict", {"text": "good"})[0] for _ in range(20)] == [200] * 20
    eventually(lambda: narrow.state.in_flight == 0)
    assert ask(narrow, "/predict", {"text": "x" * 900_000, "truncate": True})[0] == 200


@pytest.mark.promise(17, fault="/tokenize of a text far beyond the model's window")
def test_no_route_tokenizes_what_the_model_could_not_read(sentiment: Served) -> None:
    long = "a " * 100_000
    status, said = ask(sentiment, "/tokenize", {"inputs": ["short", long]})
    assert (status, said["error_type"]) == (422, "validation")
    assert said["error"].startswith("inputs[1]: the text has 200000 characters")
    assert ask(sentiment, "/tokenize", {"inputs": long[:20_000]})[0] == 200


@pytest.mark.promise(17, fault="a thousand texts, each allowed, that are too much together")
@pytest.mark.parametrize("path", ["/tokenize", "/"])
def test_texts_are_bounded_together(
    sentiment: Served, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setitem(effort.MOST, "tokens", 5_000)
    status, said = ask(sentiment, path, {"inputs": ["a " * 100] * 1000})
    assert status == 422
    assert "tokens, the limit is 5000" in said["error"]
    assert ask(sentiment, path, {"inputs": ["a " * 100] * 20})[0] == 200


@pytest.mark.promise(18, fault="clients that leave while many texts are tokenized for them")
def test_tokenizing_ends_with_its_client(
    sentiment: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = Counted(monkeypatch, Tokens, "encode")
    left_in_the_middle(sentiment, "/tokenize", {"inputs": ["a " * 2500] * STEPS}, steps)
    assert ask(sentiment, "/tokenize", {"inputs": "a " * 2500})[0] == 200
    assert steps.calls < 2 * STEPS


@pytest.mark.promise(18, fault="clients that leave while many images are decoded for them")
def test_decoding_ends_with_its_client(digits: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Counted(monkeypatch, images, "_open")
    left_in_the_middle(digits, "/predict", {"images": [black(500)] * STEPS}, steps)
    assert ask(digits, "/predict", {"image": EXAMPLE_PNG})[0] == 200
    assert steps.calls < 2 * STEPS


@pytest.mark.promise(17, fault="images that are each allowed and too much together")
def test_images_are_bounded_together(digits: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(effort.MOST, "pixels", 1_000_000)
    status, said = ask(digits, "/predict", {"images": [black(500)] * 5})
    assert status == 422
    assert said["error"]["message"].startswith("images[4]: so far the request has 1250000 pixels")
    assert ask(digits, "/predict", {"images": [black(500)] * 4})[0] == 200


def with_template(folder: Path, template: str) -> Path:
    snapshot = tiny.chat(folder)
    (snapshot / "chat_template.jinja").write_text(template)
    return snapshot


def chat(content: str, **more: Any) -> dict[str, Any]:
    message = {"role": "user", "content": content}
    return {"model": "demo", "messages": [message], "max_tokens": 1, **more}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A model whose template greets who greets it, and else goes on for years."""
    template = "{% if messages[0].content|lower != 'hello' %}" + LOOPS + "{% endif %}hi"
    snapshot = with_template(tmp_path_factory.mktemp("hostile") / "m", template)
    with served(snapshot, "text-generation") as one:
        yield one


@pytest.mark.promise(18, fault="a chat template with endless loops, and clients that leave")
@pytest.mark.parametrize("stream", [False, True])
def test_a_template_ends_with_its_client(hostile: Served, stream: bool) -> None:
    path, body = "/v1/chat/completions", chat("loop", stream=stream)
    with waiting(hostile, path, body), waiting(hostile, path, body):
        eventually(lambda: hostile.state.in_flight == 2)
        time.sleep(STEP)
    eventually(lambda: hostile.state.in_flight == 0)
    assert ask(hostile, "/v1/chat/completions", chat("hello"))[0] == 200


@pytest.mark.promise(15, fault="a chat template with endless loops")
def test_a_template_has_only_so_much_time(hostile: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "SECONDS", 0.2)
    answers: list[tuple[int, Any]] = []

    def loop() -> None:
        answers.append(ask(hostile, "/v1/chat/completions", chat("loop")))

    threads = [threading.Thread(target=loop) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert ask(hostile, "/v1/chat/completions", chat("hello"))[0] == 200
    for thread in threads:
        thread.join()
    for status, said in answers:
        assert status == 400
        assert "it was not done after 0.2 seconds" in said["error"]["message"]


@pytest.mark.promise(15, fault="a chat template that never comes to an end")
def test_a_model_whose_template_never_ends_is_not_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(templates, "SECONDS", 0.2)
    snapshot = with_template(tmp_path / "m", LOOPS)
    says = r"^failed: .* chat template does not come to an end"
    with pytest.raises(RuntimeError, match=says), served(snapshot, "text-generation"):
        pass


MANY = 150_000
BODIES = {
    "unknown parameters": {"inputs": "x", "parameters": {f"a{n}": 0 for n in range(MANY)}},
    "unknown fields": {"inputs": "x", **{f"a{n}": 0 for n in range(MANY)}},
    "empty lists": {"inputs": [[]] * MANY},
    "one list in another": {"text": "x", "y": [[[0] * MANY]]},
    "words": {"texts": ['"\\'] * MANY},
}


@pytest.mark.promise(17, fault="bodies of a hundred thousand keys, lists and numbers")
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("path", ["/predict", "/", "/tokenize", "/v2/models/demo/infer"])
def test_values_are_counted_before_they_are_made(sentiment: Served, path: str, body: Any) -> None:
    status, said = ask(sentiment, path, body)
    assert status == 422
    assert "the body holds more than 100000 values" in json.dumps(said)


@pytest.mark.parametrize("ending", [",[{" * MANY, '\\",[{\\"' * MANY, '",[{' * MANY])
def test_what_stands_in_a_text_is_no_value(sentiment: Served, ending: str) -> None:
    status, said = ask(sentiment, "/predict", {"text": ending, "truncate": True})
    assert status == 200, said


@pytest.mark.promise(17, fault="a tensor of empty rows, more than its shape has")
@pytest.mark.parametrize("data", [["good", []], ["good", [], []], [["good", "bad"]], [["good"]]])
def test_rows_are_those_of_the_shape(sentiment: Served, data: list[Any]) -> None:
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": data}
    assert ask(sentiment, "/v2/models/demo/infer", {"inputs": [tensor]})[0] == 422
    rows = {**tensor, "shape": [1, 1], "data": [["good"]]}
    assert ask(sentiment, "/v2/models/demo/infer", {"inputs": [rows]})[0] == 200
