"""The Hugging Face dialect over real sockets, on the task that needs no model."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.worker.live import LiveWorker

BOUNDARY = "x" * 20


@pytest.mark.parametrize("path", ["/", "/predict"])
def test_inputs_are_answered_bare(echo: LiveWorker, path: str) -> None:
    one = echo.ask("POST", path, {"inputs": "hello"})
    assert (one.status, one.body) == (200, [{"text": "hello"}])
    many = echo.ask("POST", path, {"inputs": ["a", "b"], "parameters": {"delay": 0}})
    assert many.body == [[{"text": "a"}], [{"text": "b"}]]


def test_parameters_may_stand_beside_inputs_and_options_mean_nothing(echo: LiveWorker) -> None:
    body = {"inputs": "a", "fail": False, "options": {"wait_for_model": True}}
    assert echo.ask("POST", "/", body).status == 200
    failed = echo.ask("POST", "/", {"inputs": "a", "fail": True})
    assert (failed.status, failed.body["code"]) == (500, "prediction_failed")


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"{", 400, "JSON"),
        (b"[]", 422, "object"),
        (b"{}", 422, "`inputs`"),
        (b'{"inputs": 1}', 422, "$.inputs"),
        (b'{"inputs": []}', 422, "`inputs` is empty"),
        (b'{"inputs": ["a", 1]}', 422, "$.inputs[1]"),
        (b'{"inputs": "a", "parameters": 1}', 422, "$.parameters"),
        (b'{"inputs": "a", "parameters": {"delay": -1}}', 422, "$.parameters.delay"),
        (b'{"inputs": "a", "parameters": {"zork": 1}}', 422, "`zork`"),
        (b'{"inputs": "a", "zork": 1}', 422, "`zork`"),
        (b'{"inputs": "a", "stream": 1}', 422, "$.stream"),
    ],
)
def test_its_errors_have_its_shape(echo: LiveWorker, body: bytes, status: int, says: str) -> None:
    answer = echo.ask("POST", "/", body)
    assert answer.status == status, answer
    assert set(answer.body) == {"error", "error_type", "code", "hint", "request_id"}
    assert says in answer.body["error"]


def test_a_native_body_that_speaks_of_inputs_stays_native(echo: LiveWorker) -> None:
    answer = echo.predict(text='the field "inputs"')
    assert answer.body["status"] == "success"
    failed = echo.ask("POST", "/predict", {"inputs": 1})
    assert set(failed.body) == {"error", "error_type", "code", "hint", "request_id"}


def test_a_browser_at_the_root_is_shown_the_docs(echo: LiveWorker) -> None:
    answer = echo.ask("GET", "/")
    assert (answer.status, answer.headers["location"]) == (307, "docs")


def _form(**parts: Any) -> bytes:
    lines = []
    for name, value in parts.items():
        is_file = isinstance(value, bytes)
        extra = '; filename="f"\r\ncontent-type: image/png' if is_file else ""
        content = value if is_file else str(value).encode()
        head = f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="{name}"{extra}\r\n\r\n'
        lines.append(head.encode() + content + b"\r\n")
    return b"".join(lines) + f"--{BOUNDARY}--\r\n".encode()


def test_a_form_is_a_request_too(echo: LiveWorker) -> None:
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    good = echo.ask("POST", "/predict", _form(text="hi", delay="0.01"), content_type=kind)
    assert good.body["result"] == [{"text": "hi"}], good
    many = echo.ask("POST", "/", _form(texts=json.dumps(["a"])), content_type=kind)
    assert many.body == [[{"text": "a"}]]
    for parts in ({"text": "hi", "zork": "1"}, {"text": "hi", "delay": "soon"}, {"delay": "1"}):
        bad = echo.ask("POST", "/predict", _form(**parts), content_type=kind)
        assert bad.status == 422, bad
    file = echo.ask("POST", "/predict", _form(text=b"hi"), content_type=kind)
    assert (file.status, "text: it is no file" in file.body["error"]["message"]) == (422, True)
    broken = echo.ask("POST", "/predict", b"no form", content_type="multipart/form-data")
    assert broken.status == 400
