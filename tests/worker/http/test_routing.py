"""What HTTP asks around the routes: 404, 405 with Allow, HEAD, 406, and OPTIONS for whom."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from modeldeploy.worker.http.routing import accepts
from tests.worker.live import LiveWorker, live_worker

LISTED = "https://app.example"


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveWorker]:
    folder = tmp_path_factory.mktemp("listed")
    with live_worker(folder, "echo", folder, allow_origins=(LISTED,)) as one:
        one.until("ready")
        yield one


@pytest.mark.parametrize(
    ("header", "whether"),
    [
        ("", True),
        ("*/*", True),
        ("application/*;q=0.1", True),
        ("text/html, application/json;q=0.5", True),
        ("Application/JSON", True),
        ("text/html", False),
        ("application/json;q=0", False),
        ("*/*, application/json;q=0", False),
        ("application/json;q=0.0, */*", False),
        ("*/*;q=0", False),
        ("application/json;q=nonsense", True),
        ("nonsense", False),
    ],
)
def test_the_most_specific_range_decides(header: str, whether: bool) -> None:
    assert accepts(header, "application/json") is whether


def test_json_that_is_not_accepted_is_406_in_each_dialects_shape(worker: LiveWorker) -> None:
    for path, key in (("/predict", "status"), ("/", "error_type"), ("/v2/models/demo/infer", None)):
        answer = worker.ask("POST", path, {"text": "a"}, accept="text/html")
        assert answer.status == 406, path
        assert key is None or key in answer.body
    assert worker.ask("GET", "/health", accept="image/png").code == "not_acceptable"
    assert worker.ask("GET", "/metrics", accept="image/png").status == 200
    assert worker.ask("POST", "/predict", {"text": "a"}, accept="text/html, */*").status == 200


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/", "GET, HEAD, POST"),
        ("/predict", "POST"),
        ("/health", "GET, HEAD"),
        ("/v2/models/demo", "GET, HEAD"),
        ("/v2/models/demo/infer", "POST"),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE"])
def test_allow_names_every_method_of_a_path(
    worker: LiveWorker, path: str, allow: str, method: str
) -> None:
    answer = worker.ask(method, path)
    assert (answer.status, answer.headers["allow"]) == (405, allow)


def test_what_get_answers_head_answers_without_a_body(worker: LiveWorker) -> None:
    endpoints = worker.ask("GET", "/info").body["endpoints"]
    paths = ["/", *(one["path"] for one in endpoints if one["method"] == "GET")]
    assert len(paths) > 8
    for path in paths:
        got, head = worker.ask("GET", path), _head(worker, path)
        assert (head.status, head.body) == (got.status, b""), path
        assert head.headers.get("content-type") == got.headers.get("content-type"), path
        assert head.headers.get("content-length"), path


def _head(worker: LiveWorker, path: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", worker.port, timeout=10)
    connection.request("HEAD", path)
    response = connection.getresponse()
    headers = {name.lower(): value for name, value in response.getheaders()}
    found = SimpleNamespace(status=response.status, body=response.read(), headers=headers)
    connection.close()
    return found


def test_a_page_of_a_listed_origin_may_ask(worker: LiveWorker) -> None:
    before = worker.ask("OPTIONS", "/predict", Origin=LISTED, Access_Control_Request_Method="POST")
    assert before.status == 204
    assert before.headers["access-control-allow-origin"] == LISTED
    assert before.headers["access-control-allow-methods"] == "POST"
    assert "content-type" in before.headers["access-control-allow-headers"]
    good = worker.ask("POST", "/predict", {"text": "a"}, Origin=LISTED)
    bad = worker.ask("POST", "/predict", {"text": 1}, Origin=LISTED)
    lost = worker.ask("OPTIONS", "/nowhere", Origin=LISTED)
    assert (good.status, bad.status, lost.status) == (200, 422, 404)
    for answer in (good, bad, lost):
        assert answer.headers["access-control-allow-origin"] == LISTED
        assert "x-request-id" in answer.headers["access-control-expose-headers"]
        assert answer.headers["vary"] == "origin"


def test_a_page_may_send_what_openais_client_does(worker: LiveWorker) -> None:
    asked = "authorization, content-type, X-Stainless-Lang,x-stainless-retry-count, openai-project"
    before = worker.ask(
        "OPTIONS",
        "/predict",
        Origin=LISTED,
        Access_Control_Request_Method="POST",
        Access_Control_Request_Headers=f"{asked}, x-zork, x-stainless-\u00e9",
    )
    told = before.headers["access-control-allow-headers"].split(", ")
    assert {one.strip().lower() for one in asked.split(",")} < set(told)
    assert not [one for one in told if "zork" in one or not one.isascii()]


@pytest.mark.parametrize(
    "origin", ["https://app.example.evil", "http://app.example", "https://app.example:444", "null"]
)
@pytest.mark.promise(21, fault="a page of an origin that is not listed")
def test_a_page_of_any_other_origin_may_not(worker: LiveWorker, origin: str) -> None:
    for method in ("OPTIONS", "POST"):
        answer = worker.ask(method, "/predict", {"text": "a"}, Origin=origin)
        assert answer.status == 403
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert answer.headers["vary"] == "origin"
