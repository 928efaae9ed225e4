from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench import stream
from bench.peers import asking, report
from bench.peers.asking import Ask
from bench.peers.catalog import PEERS, Job
from bench.peers.measuring import Case, Taken, turn
from bench.peers.process import Problem, Process
from bench.peers.serving import OURS, free_port

_SERVER = """
import http.server, subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
_ASK = Ask("/", b"{}")


class _Fake:
    """A server that is a process of its own."""

    def __init__(self, folder: Path, program: str) -> None:
        self.port = free_port()
        self._folder, self._program = folder, program
        self._process: Process | None = None

    def start(self, first: Sequence[str]) -> float:
        command = [sys.executable, "-c", self._program, str(self.port)]
        self._process = Process(command, {}, self._folder)
        return self._process.wait_until_ready(self.port, _ASK, 20)

    def ask(self, inputs: Sequence[str]) -> Ask:
        return Ask("/", json.dumps(list(inputs)).encode())

    def memory(self) -> float:
        return self._process.memory() if self._process else 0.0

    def stop(self) -> None:
        if self._process:
            self._process.stop()

    def close(self) -> None:
        self.stop()


def _left(folder: Path) -> list[int]:
    return [
        process.pid
        for process in psutil.process_iter(["environ"])
        if (process.info["environ"] or {}).get("TMPDIR") == str(folder)
        and process.status() != psutil.STATUS_ZOMBIE
    ]


def test_a_turn_measures_and_leaves_no_process_even_of_another_session(tmp_path: Path) -> None:
    taken = Taken()
    cases = [Case("2", 2), Case("1 x 3", 1, 3)]
    turn(_Fake(tmp_path, _SERVER), ["a", "b"], cases, 0.2, taken)
    assert {case: len(values) for case, values in taken.rates.items()} == {"2": 1, "1 x 3": 1}
    assert taken.memory_mb[0] > 0
    assert taken.failed_requests == 0
    assert not _left(tmp_path)


def test_a_server_that_dies_is_a_problem_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"ended with 3: .*no such model"):
        turn(
            _Fake(tmp_path, "print('no such model'); raise SystemExit(3)"),
            ["a"],
            [Case("1", 1)],
            0.1,
            Taken(),
        )
    assert not _left(tmp_path)


def test_a_server_that_never_answers_is_given_up_and_ended(tmp_path: Path) -> None:
    process = Process([sys.executable, "-c", "import time; time.sleep(60)"], {}, tmp_path)
    with pytest.raises(Problem, match="not ready within 0 s"):
        process.wait_until_ready(free_port(), _ASK, 0.3)
    process.stop()
    assert not _left(tmp_path)


def _found(**servers: dict[str, list[float]]) -> dict[str, Any]:
    blank = {"ready_s": [1.0], "memory_mb": [], "problem": "", "failed_requests": 0}
    return {"servers": {name: {"rates": rates, **blank} for name, rates in servers.items()}}


def test_the_table_has_medians_and_ours_over_theirs() -> None:
    found = _found(**{OURS: {"8": [10.0, 30.0, 20.0]}, "naive": {"8": [5.0]}, "ray": {}})
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in report.table(found).splitlines()
    ]
    assert rows[0] == ["", "8", "ours ÷ it, 8", "ready, s", "memory, MB"]
    assert rows[2][:3] == [OURS, "20.0", "–"]
    assert rows[3][:3] == [PEERS["naive"].title, "5.00", "4.00"]
    assert rows[4][:3] == [PEERS["ray"].title, "–", "–"]


def test_what_went_wrong_is_told() -> None:
    found = _found(ray={})
    found["servers"]["ray"] |= {"problem": "not installed", "failed_requests": 2}
    assert report.problems(found) == ["ray: not installed", "ray: 2 requests failed"]


@pytest.mark.parametrize("name", PEERS)
def test_every_peer_can_be_started_and_asked_for_what_it_is_measured_in(
    name: str, tmp_path: Path
) -> None:
    for workload in PEERS[name].workloads:
        (tmp_path / f"{workload}-onnx").mkdir(exist_ok=True)
        (tmp_path / "embeddings-onnx").mkdir(exist_ok=True)
        job = Job(workload, tmp_path, tmp_path, tmp_path, 1234, sys.executable)
        for kind in ("Q8_0", "Q4_1"):  # no quantiser is asked for what is there
            (tmp_path / f"SmolLM2-135M-Instruct.{kind}.gguf").touch()
        assert Path(PEERS[name].command(job)[0]).parent == Path(sys.executable).parent
        asked = PEERS[name].ask(workload, ["one", "two"])
        assert "one" in asked.body.decode()


def test_a_stream_is_read_with_the_time_of_each_piece() -> None:
    chunks = [{"choices": [{"delta": {"content": piece}}]} for piece in ("a", "b")]
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in ({"choices": []}, *chunks)]
    answer = "HTTP/1.1 200 OK\r\n\r\n" + "".join(lines) + "data: [DONE]\n\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(answer.encode())
        writer.close()

    async def run() -> stream.Streamed:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            return await stream.stream(port, "/v1/chat/completions", b"{}")

    found = asyncio.run(run())
    assert found.status == 200
    assert found.text == "ab"
    assert found.first > 0


def test_many_texts_are_one_request() -> None:
    body = json.loads(asking.ours("embeddings", ["a", "b"]).body)
    assert body == {"texts": ["a", "b"]}
    assert json.loads(asking.ours("image", ["a"]).body) == {"image": "a"}
