"""The public app over real sockets: what is accepted, what is refused, and how it is told."""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modeldeploy.schema.worker import Limits
from tests.worker.live import SECONDS, Answer, LiveWorker, eventually, live_worker

LIMITS = Limits(max_body_bytes=100_000, max_texts=10, max_queue=3, request_timeout=2.0)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveWorker]:
    """A worker with narrow limits, shared by tests that leave nothing in it."""
    folder = tmp_path_factory.mktemp("small")
    with live_worker(folder, "echo", folder, limits=LIMITS) as worker:
        worker.until("ready")
        yield worker


def test_one_text_and_many(small: LiveWorker) -> None:
    one = small.predict(text="hello")
    assert one.status == 200
    assert one.body["inference_time_ms"] > 0
    del one.body["inference_time_ms"]
    assert one.body == {
        "status": "success",
        "result": [{"text": "hello"}],
        "deployment_id": "demo",
    }
    many = small.predict(texts=["a", "ccc", "bb"])
    assert many.body["result"] == [[{"text": "a"}], [{"text": "ccc"}], [{"text": "bb"}]]


def test_every_answer_carries_its_identity_and_times(small: LiveWorker) -> None:
    for path in ("/health", "/info", "/nope"):
        headers = small.ask("GET", path).headers
        assert {"x-request-id", "x-inference-time-ms", "x-queue-time-ms"} <= set(headers)
        assert "server" not in headers
    echoed = small.ask("POST", "/predict", {"text": "x"}, x_request_id="my-id.1")
    assert echoed.headers["x-request-id"] == "my-id.1"
    assert float(echoed.headers["x-inference-time-ms"]) > 0
    made = small.ask("POST", "/predict", {"text": "x"}, x_request_id="no\tgood")
    assert made.headers["x-request-id"] != "no\tgood"
    failed = small.ask("POST", "/predict", {"text": 1}, x_request_id="abc")
    assert failed.body["request_id"] == failed.headers["x-request-id"] == "abc"


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 400, "JSON"),
        (b"{", 400, "JSON"),
        (b'{"text": "a"} x', 400, "JSON"),
        (b'{"text": "\xff"}', 400, "JSON"),
        (b'{"text": "a", "delay": NaN}', 400, "JSON"),
        (b'{"text": "a", "delay": Infinity}', 400, "JSON"),
        (b"[" * 50_000, 422, "object"),
        (b"[]", 422, "object"),
        (b"null", 422, "object"),
        (b'"text"', 422, "object"),
        (b"{}", 422, "`text` and `texts`"),
        (b'{"text": null}', 422, "`text` and `texts`"),
        (b'{"text": "a", "texts": ["b"]}', 422, "`text` and `texts`"),
        (b'{"texts": []}', 422, "`texts`"),
        (json.dumps({"texts": ["a"] * 11}).encode(), 422, "limit is 10"),
        (b'{"texts": "a"}', 422, "$.texts"),
        (b'{"texts": ["a", 1]}', 422, "$.texts[1]"),
        (b'{"text": 1}', 422, "$.text"),
        (b'{"text": ["a"]}', 422, "$.text"),
        (b'{"text": "a", "zork": 1}', 422, "`zork`"),
        (b'{"text": "a", "delay": -1}', 422, "$.delay"),
        (b'{"text": "a", "delay": 1e9}', 422, "$.delay"),
        (b'{"text": "a", "delay": 1e999}', 422, "$.delay"),
        (b'{"text": "a", "delay": "1"}', 422, "$.delay"),
        (b'{"text": "a", "delay": true}', 422, "$.delay"),
        (b'{"text": "a", "fail": 1}', 422, "$.fail"),
    ],
)
@pytest.mark.promise(17, fault="bodies that are not what the schema asks for")
def test_a_bad_body_is_told_what_is_wrong(
    small: LiveWorker, body: bytes, status: int, says: str
) -> None:
    answer = small.ask("POST", "/predict", body)
    assert answer.status == status, answer
    assert says in answer.body["error"]["message"]
    assert set(answer.body) == {"status", "error", "deployment_id", "request_id"}
    assert answer.body["error"]["hint"]


@pytest.mark.parametrize("kind", ["text/plain", "image/png", "application/octet-stream", "json"])
@pytest.mark.promise(21, fault="a body that is not sent as JSON")
def test_another_content_type_is_refused(small: LiveWorker, kind: str) -> None:
    answer = small.ask("POST", "/predict", b'{"text": "a"}', content_type=kind)
    assert (answer.status, answer.code) == (415, "unsupported_media_type")


def test_no_content_type_is_refused_and_a_charset_is_not(small: LiveWorker) -> None:
    raw = b'POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 13\r\n\r\n{"text": "a"}'
    with socket.create_connection(("127.0.0.1", small.port), SECONDS) as client:
        client.sendall(raw)
        assert client.recv(12) == b"HTTP/1.1 415"
    with_charset = "Application/JSON; charset=utf-8"
    assert small.ask("POST", "/predict", {"text": "a"}, content_type=with_charset).status == 200


def test_routes_that_are_not_there(small: LiveWorker) -> None:
    assert small.ask("GET", "/nope%0a").code == "not_found"
    wrong = small.ask("GET", "/predict")
    assert (wrong.status, wrong.code, wrong.headers["allow"]) == (405, "method_not_allowed", "POST")
    assert small.ask("DELETE", "/health").status == 405
    assert small.ask("GET", "/predict/").status == 404


def test_a_large_body_is_refused_by_its_declared_length(small: LiveWorker) -> None:
    answer = small.ask("POST", "/predict", b"x" * 5_000_000)
    assert (answer.status, answer.code) == (413, "body_too_large")
    assert "100000" in answer.body["error"]["message"]


@pytest.mark.promise(17, fault="a body without end")
def test_a_large_body_in_chunks_is_refused_while_it_comes(small: LiveWorker) -> None:
    with socket.create_connection(("127.0.0.1", small.port), SECONDS) as client:
        client.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for _ in range(12):
            client.sendall(b"2710\r\n" + b"x" * 10_000 + b"\r\n")
        assert client.recv(12) == b"HTTP/1.1 413"  # with no end of the body in sight


def test_a_head_without_end_is_cut(small: LiveWorker) -> None:
    with socket.create_connection(("127.0.0.1", small.port), SECONDS) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n")
        with pytest.raises(OSError, match=r"reset|pipe|aborted"):
            _send_for_ever(client, b"x-filler: " + b"y" * 8000 + b"\r\n")
    assert small.ask("GET", "/health").status == 200


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
        b"GET / HTTP/1.1\r\nno header\r\n\r\n",
        b"GET /\xff\r\n\r\n",
    ],
)
@pytest.mark.promise(17, fault="bytes that are no HTTP")
def test_what_is_not_http_is_told_so_as_everything_is(small: LiveWorker, raw: bytes) -> None:
    with socket.create_connection(("127.0.0.1", small.port), SECONDS) as client:
        client.sendall(raw)
        answer = http.client.HTTPResponse(client)
        answer.begin()
        body = json.loads(answer.read())
        assert client.recv(1) == b""
    assert answer.status == 400
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"] == body["request_id"]
    assert {"x-inference-time-ms", "x-queue-time-ms"} <= set(answer.headers)
    assert (body["status"], body["deployment_id"]) == ("error", "demo")
    assert body["error"]["code"] == "malformed_request"


def _send_for_ever(client: socket.socket, what: bytes) -> None:
    while True:
        client.sendall(what)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:99", "[::1]:80", "LOCALHOST"])
def test_our_own_names_are_answered(small: LiveWorker, host: str) -> None:
    assert small.ask("GET", "/health", Host=host).status == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8100", "", "127.0.0.1.evil", "::1"])
@pytest.mark.promise(21, fault="a foreign Host (DNS rebinding)")
def test_another_host_is_misdirected(small: LiveWorker, host: str) -> None:
    answer = small.ask("POST", "/predict", {"text": "a"}, Host=host)
    assert (answer.status, answer.code) == (421, "misdirected_request")


@pytest.mark.promise(21, fault="a web page that posts to localhost")
def test_a_foreign_page_is_refused_and_our_own_is_not(small: LiveWorker) -> None:
    own = f"http://127.0.0.1:{small.port}"
    for origin in ("http://evil.example", "null", "http://127.0.0.1", "http://localhost:1"):
        answer = small.ask("POST", "/predict", {"text": "a"}, Origin=origin)
        assert (answer.status, answer.code) == (403, "forbidden")
    answer = small.ask("POST", "/predict", {"text": "a"}, Origin=own)
    assert answer.status == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.promise(17, fault="an input that makes the model raise")
def test_a_failing_model_answers_500_and_the_next_is_served(small: LiveWorker) -> None:
    answer = small.predict(text="x", fail=True)
    assert (answer.status, answer.code) == (500, "prediction_failed")
    assert small.predict(text="x").status == 200


@pytest.mark.promise(17, fault="an input that outlasts its deadline")
def test_too_slow_is_504_and_the_work_stops(small: LiveWorker) -> None:
    started = time.monotonic()
    answer = small.predict(text="x", delay=60)
    assert (answer.status, answer.code) == (504, "request_timeout")
    assert time.monotonic() - started < 5
    assert 1500 < float(answer.headers["x-inference-time-ms"]) < 3000
    assert float(answer.headers["x-queue-time-ms"]) < 500
    assert small.predict(text="x").status == 200, "the model is free again"


def test_who_only_waited_is_told_so_with_504(small: LiveWorker) -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        first = pool.submit(small.predict, text="x", delay=1.5)
        eventually(lambda: _in_flight(small) == 1)
        answer = small.predict(text="x", delay=60)
        assert first.result().status == 200
    assert answer.status == 504
    waited, took = (float(answer.headers[f"x-{name}-time-ms"]) for name in ("queue", "inference"))
    assert waited > 1000
    assert 1500 < waited + took < 3000


@pytest.mark.promise(18, fault="more requests than may wait")
def test_saturation_is_429_at_once_with_retry_after_and_recovers(tmp_path: Path) -> None:
    limits = Limits(max_queue=2)
    with live_worker(tmp_path, "echo", tmp_path, limits=limits) as worker:
        worker.until("ready")
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            # Different delays are different batches: one runs, two wait, five are too many.
            asked = [pool.submit(worker.predict, text="x", delay=1 + n / 100) for n in range(8)]
            answers: list[Answer] = [one.result() for one in asked]
        refused = [answer for answer in answers if answer.status == 429]
        assert len(refused) == 5
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
        assert all("2 requests" in answer.body["error"]["message"] for answer in refused)
        assert sum(answer.status == 200 for answer in answers) == 3
        assert worker.predict(text="x").status == 200


@pytest.mark.promise(
    18, fault="more requests than may wait, in every dialect that the task answers"
)
def test_each_dialect_tells_the_surplus_how_full_it_is(tmp_path: Path) -> None:
    with live_worker(tmp_path, "echo", tmp_path, limits=Limits(max_queue=1)) as worker:
        worker.until("ready")
        posts = [one for one in worker.ask("GET", "/info").body["endpoints"] if "example" in one]
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            # One runs and one waits: different delays are different batches.
            served = [pool.submit(worker.predict, text="x", delay=3)]
            eventually(lambda: _in_flight(worker) == 1 and _depth(worker) == 0)
            served.append(pool.submit(worker.predict, text="x", delay=3.5))
            eventually(lambda: _depth(worker) == 1)
            refused = {
                one["path"]: worker.ask("POST", one["path"], one["example"]) for one in posts
            }
            assert [one.result().status for one in served] == [200, 200]
    crowd = {"depth": 1, "position": 2, "limit": 1}
    assert refused["/predict"].body["error"]["queue"] == crowd
    assert refused["/"].body["queue"] == crowd
    assert refused["/"].body["error_type"] == "overloaded"
    assert any(path.startswith("/v2/") for path in refused)
    for answer in refused.values():
        assert answer.status == 429
        assert int(answer.headers["retry-after"]) >= 1
        assert (answer.headers["x-queue-depth"], answer.headers["x-queue-position"]) == ("1", "2")
        assert "1 requests are waiting already" in str(answer.body)


@pytest.mark.promise(18, fault="a client that leaves")
def test_a_client_that_leaves_frees_the_model(echo: LiveWorker) -> None:
    body = b'{"text": "x", "delay": 60}'
    with socket.create_connection(("127.0.0.1", echo.port), SECONDS) as client:
        client.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            + f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        eventually(lambda: _in_flight(echo) == 1)
    started = time.monotonic()
    assert echo.predict(text="next").status == 200
    assert time.monotonic() - started < 1
    eventually(lambda: _in_flight(echo) == 0)


def _depth(worker: LiveWorker) -> int:
    lines = worker.ask("GET", "/metrics").body.splitlines()
    return next(int(float(line.split()[-1])) for line in lines if "queue_depth{" in line)


def _in_flight(worker: LiveWorker) -> int:
    report = worker.report()
    assert report is not None
    return report.in_flight


def test_requests_share_batches_and_each_gets_its_own(echo: LiveWorker) -> None:
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        asked = {str(n): pool.submit(echo.predict, text=str(n)) for n in range(200)}
        assert all(one.result().body["result"] == [{"text": n}] for n, one in asked.items())
    report = echo.report()
    assert report is not None
    assert report.requests == 200
    eventually(lambda: _in_flight(echo) == 0)


def test_health_and_info(echo: LiveWorker) -> None:
    healthy = {"status": "healthy", "model_id": "org/demo", "deployment_id": "demo"}
    for path in ("/health", "/readyz"):
        answer = echo.ask("GET", path)
        assert (answer.status, answer.body) == (200, healthy)
    assert echo.ask("GET", "/livez").status == 200
    info = echo.ask("GET", "/info").body
    expected = {
        *("model_id", "deployment_id", "revision", "task", "model_type", "dtype", "device"),
        *(
            "parameters",
            "max_input_length",
            "runs",
            "memory_bytes",
            "reserved_bytes",
            "limits",
            "versions",
            "uptime_s",
        ),
        *("endpoints", "notes", "threads"),
    }
    assert set(info) == expected
    assert {"modeldeploy", "torch", "transformers"} == set(info["versions"])
    predict = next(one for one in info["endpoints"] if one["path"] == "/predict")
    assert echo.ask(predict["method"], predict["path"], predict["example"]).status == 200


def test_the_openapi_document_describes_this_deployment(echo: LiveWorker) -> None:
    document = echo.ask("GET", "/openapi.json").body
    assert document["openapi"] == "3.1.0"
    operation = document["paths"]["/predict"]["post"]
    content = operation["requestBody"]["content"]["application/json"]
    assert echo.ask("POST", "/predict", content["example"]).status == 200
    assert {"200", "400", "413", "415", "422", "429", "503", "504"} <= set(operation["responses"])
    _resolve_all(document, document)


def _resolve_all(node: Any, document: dict[str, Any]) -> None:
    if isinstance(node, dict):
        if "$ref" in node:
            at: Any = document
            for part in node["$ref"].removeprefix("#/").split("/"):
                at = at[part]
        for child in node.values():
            _resolve_all(child, document)
    elif isinstance(node, list):
        for child in node:
            _resolve_all(child, document)


def test_predictions_are_logged_and_health_is_not(echo: LiveWorker) -> None:
    echo.ask("GET", "/health")
    answer = echo.ask("POST", "/predict", {"text": "secret words"}, x_request_id="seen")
    assert answer.status == 200
    lines = eventually(lambda: [line for line in echo.log().splitlines() if line.endswith(" seen")])
    assert " INFO modeldeploy.worker.http.app: POST /predict 200 " in lines[0]
    assert "/health" not in echo.log()
    assert "secret words" not in echo.log()


def test_a_connection_serves_many_requests(echo: LiveWorker) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", echo.port, timeout=SECONDS)
    for body in (b'{"text": "a"}', b"{", b'{"text": "b"}'):
        connection.request("POST", "/predict", body, {"content-type": "application/json"})
        response = connection.getresponse()
        response.read()
        assert not response.will_close
    connection.close()
