"""``bench`` against a server of our own; timings are looked at nowhere."""

from __future__ import annotations

import asyncio
import http.server
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modeldeploy.cli import bench
from modeldeploy.client import load
from modeldeploy.schema.states import Desired, State
from tests.cli.conftest import Run
from tests.cli.fake_supervisor import FakeSupervisor
from tests.cli.stories import deployment

_LATE = 0.05
_REFUSED = b'{"error": {"code": "text_refused", "message": "no", "hint": ""}}'


class Worker(http.server.ThreadingHTTPServer):
    """Answers every text; ``asked`` are the bodies. One that says ``bad`` gets a 422, one that says
    ``close`` the end of its connection, one that says ``chunks`` an answer in pieces. Where a stream is wanted three
    tokens come, the last one late, or to one that says ``breaks`` an error."""

    daemon_threads = True

    def __init__(self) -> None:
        self.asked: list[Any] = []
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append(body)  # type: ignore[attr-defined]
        self.send_response(422 if body["text"] == "bad" else 200)
        if body.get("stream"):
            self.send_header("content-type", "text/event-stream; charset=utf-8")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            last = b'{"error": {"code": "x"}}' if body["text"] == "breaks" else b'{"index": 3}'
            for piece in (b'data: {"index": 1}\n\nda', b'ta: {"index": 2}\n\n'):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            time.sleep(_LATE)
            last = b"data: %s\n\n" % last
            self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(last), last))
            return
        if body["text"] == "chunks":
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"3\r\n{}\n\r\n0\r\n\r\n")
            return
        size = len(_REFUSED) if body["text"] == "bad" else 2
        self.send_header("content-length", str(size))
        if body["text"] == "close":
            self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(_REFUSED if body["text"] == "bad" else b"{}")

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def worker() -> Iterator[Worker]:
    found = Worker()
    yield found
    found.shutdown()
    found.server_close()


@pytest.fixture
def fake_two(fake: FakeSupervisor, worker: Worker) -> FakeSupervisor:
    fake.deployments["a"] = deployment("a", state=State.RUNNING)
    fake.deployments["b"] = deployment("b", state=State.STOPPED, desired=Desired.STOPPED)
    fake.change("a", port=worker.server_port, task="text-classification")
    return fake


def test_each_request_is_counted_once_however_it_is_answered(worker: Worker) -> None:
    requests = [
        load.post("127.0.0.1", worker.server_port, "/predict", body.encode(), "application/json")
        for body in ('{"text": "a"}', '{"text": "bad"}', '{"text": "close"}', '{"text": "chunks"}')
    ]
    found = asyncio.run(load.measure("127.0.0.1", worker.server_port, requests, 3, count=40))
    assert found.statuses == Counter({200: 30, 422: 10})
    assert len(found.latencies) == 30
    assert len(worker.asked) == 40
    assert 0 < found.quantile(0.5) <= found.quantile(0.99) <= found.seconds
    assert found.rate == pytest.approx(30 / found.seconds)


def test_of_a_stream_the_events_are_counted_and_the_first_is_timed(worker: Worker) -> None:
    requests = [
        load.post("127.0.0.1", worker.server_port, "/predict", body.encode(), "application/json")
        for body in ('{"text": "a", "stream": true}', '{"text": "breaks", "stream": true}')
    ]
    found = asyncio.run(load.measure("127.0.0.1", worker.server_port, requests, 2, count=10))
    assert found.statuses == Counter({200: 5, 0: 5})
    assert (len(found.latencies), len(found.firsts), found.events) == (5, 5, 15)
    assert found.quantile(0.5) - found.first_quantile(0.5) >= 0.9 * _LATE
    assert found.event_rate == pytest.approx(15 / found.seconds)


def test_of_what_is_written_tokens_and_the_first_are_told(
    fake_two: FakeSupervisor, worker: Worker, run: Run
) -> None:
    fake_two.change("a", task="text-generation")
    asked = ("bench", "a", "--clients", "2", "--seconds", "0.2")
    (row,) = run(*asked, "--json").json
    assert all(body["stream"] for body in worker.asked[1:])
    assert row["errors"] == {}
    assert row["tokens_per_second"] == pytest.approx(3 * row["requests_per_second"], rel=0.01)
    assert 0 < row["first_token_p50_ms"] <= row["first_token_p99_ms"] < row["p99_ms"]
    shown = run(*asked).out
    assert "TOKENS/S" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_it_sweeps_over_clients(fake_two: FakeSupervisor, run: Run) -> None:
    done = run("bench", "a", "--clients", "1,3", "--seconds", "0.1", "--json")
    assert [row["clients"] for row in done.json] == [1, 3]
    for row in done.json:
        assert row["answers"] > 0
        assert row["errors"] == {}
        assert row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"]
    shown = run("bench", "a", "--clients", "2", "--seconds", "0.1").out
    assert "REQUESTS/S" in shown


def test_it_asks_with_the_texts_of_a_file(
    fake_two: FakeSupervisor, worker: Worker, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "texts").write_text("one\n\nbad\n")
    done = run("bench", "a", "--clients", "1", "--seconds", "0.1", "--file", "texts", "--json")
    assert {body["text"] for body in worker.asked} == {"one", "bad"}
    assert list(done.json[0]["errors"]) == ["422"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("b",), "not_ready"),
        (("nobody",), "deployment_not_found"),
        (("a", "--file", "nothing"), "usage"),
        (("a", "--file", "refused"), "text_refused"),
    ],
)
def test_what_cannot_be_measured_is_told(
    fake_two: FakeSupervisor, run: Run, tmp_path: Path, arguments: tuple[str, ...], code: str
) -> None:
    (tmp_path / "refused").write_text("bad")
    assert run("bench", *arguments, "--json").error["code"] == code


@pytest.mark.parametrize("clients", ["x", "0", "1,,2", "5000"])
def test_clients_are_numbers(fake_two: FakeSupervisor, run: Run, clients: str) -> None:
    assert run("bench", "a", "--clients", clients).code == 2


def test_where_it_goes_away_what_was_measured_is_shown(
    fake_two: FakeSupervisor, worker: Worker, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure, sweeps = load.measure, iter(range(9))

    async def measured(*args: Any, **how: Any) -> load.Measured:
        if next(sweeps) == 2:  # a warm-up and a sweep later
            raise ConnectionRefusedError(111, "Connection refused")
        return await measure(*args, **how)

    monkeypatch.setattr(load, "measure", measured)
    done = run("bench", "a", "--clients", "1,2", "--seconds", "0.1")
    assert done.code != 0
    assert "REQUESTS/S" in done.out
    assert "does not answer any more" in done.err


def test_an_answer_without_its_end_is_called_so(worker: Worker) -> None:
    row = bench._as_row(load.Measured(2, 1.0, statuses=Counter({0: 2})))
    assert row["errors"] == {"cut short": 2}
    assert (row["p50_ms"], row["answers"]) == (None, 0)
