"""What a request costs around the model: a model that does nothing against a bare Starlette route on
the same uvicorn, interleaved in one run; and MiniLM's answers against the model's own time for them.

``python -m bench.overhead [--rounds N]``
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from bench import ending, workload
from modeldeploy.client import load
from tests.e2e.instance import eventually, free_ports, get
from tests.worker.live import live_worker

CLIENTS = (1, 8, 32)
SECONDS = 4.0
BODY = json.dumps({"text": "so many bytes"}).encode()


def bare(port: int) -> None:
    """A route that reads a body and answers it, served as workers serve theirs."""
    import msgspec
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from modeldeploy.web import servers

    class Body(msgspec.Struct):
        text: str

    async def answer(request: Request) -> Response:
        if request.method == "GET":
            return Response(b"{}", media_type="application/json")
        body = msgspec.json.decode(await request.body(), type=Body)
        return Response(msgspec.json.encode(body), media_type="application/json")

    app = Starlette(routes=[Route("/predict", answer, methods=["GET", "POST"])])
    server = servers.server(app, 1.0)
    server.config.port = port
    uvloop.run(server.serve())


class Bare:
    """:func:`bare` in a process of its own."""

    def __init__(self) -> None:
        self.port, _ = free_ports(1)
        script = f"import bench.overhead as b; b.bare({self.port})"
        self._process = subprocess.Popen([sys.executable, "-c", script])
        eventually(self._answers)

    def _answers(self) -> bool:
        try:
            return get(f"http://127.0.0.1:{self.port}/predict")[0] == 200
        except OSError:
            return False

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


def measure(port: int, texts: list[str], clients: int, seconds: float = SECONDS) -> load.Measured:
    requests = [
        load.post(
            "127.0.0.1", port, "/predict", json.dumps({"text": one}).encode(), "application/json"
        )
        for one in texts
    ]
    found = uvloop.run(load.measure("127.0.0.1", port, requests, clients, seconds=seconds))
    assert set(found.statuses) == {200}, found.statuses
    return found


def no_op(folder: Path, rounds: int) -> None:
    plain = Bare()
    with live_worker(folder, "echo", folder) as worker:
        worker.until("ready")
        taken: dict[tuple[str, int], list[load.Measured]] = {}
        for _ in range(rounds):
            for clients in CLIENTS:
                for name, port in (("bare route", plain.port), ("no-op model", worker.port)):
                    taken.setdefault((name, clients), []).append(
                        measure(port, ["so many bytes"], clients)
                    )
    plain.close()
    print(f"a no-op model and a bare Starlette route ({rounds} rounds, medians)")
    for clients in CLIENTS:
        rates = {}
        for name in ("bare route", "no-op model"):
            found = taken[name, clients]
            rates[name] = statistics.median(one.rate for one in found)
            p50 = statistics.median(one.quantile(0.5) for one in found) * 1e6
            print(
                f"  {name:<12} {clients:>3} clients {rates[name]:8.0f} requests/s   p50 {p50:7.0f} us"
            )
        print(
            f"  {'ratio':<12} {clients:>3} clients {rates['no-op model'] / rates['bare route']:8.2f}"
        )


def around_the_model(folder: Path, count: int) -> None:
    """One client, one short text after the other: what is not the model's own time."""
    request = load.post("127.0.0.1", 1, "/predict", BODY, "application/json")
    whole, around = [], []
    with live_worker(folder, "feature-extraction", workload.embedder(folder), threads=2) as worker:
        worker.until("ready")
        with socket.create_connection(("127.0.0.1", worker.port)) as link:
            for _ in range(count):
                begun = time.perf_counter()
                link.sendall(request)
                seconds, head = _heard(link, begun)
                (told,) = re.findall(rb"x-inference-time-ms: ([0-9.]+)", head)
                whole.append(seconds * 1000)
                around.append(seconds * 1000 - float(told))
    p50 = statistics.median(whole)
    print(
        f"MiniLM, one client: p50 {p50:.2f} ms, around the model {statistics.median(around):.2f} ms"
    )


def _heard(link: socket.socket, begun: float) -> tuple[float, bytes]:
    """When a whole answer was there, and its head."""
    heard = b""
    while b"\r\n\r\n" not in heard:
        heard += link.recv(1 << 20)
    head, _, body = heard.partition(b"\r\n\r\n")
    (length,) = re.findall(rb"content-length: (\d+)", head)
    left = int(length) - len(body)
    while left:
        left -= len(link.recv(left))
    return time.perf_counter() - begun, head


def main() -> None:
    ending.heed()
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    for measured, count in ((no_op, asked.rounds), (around_the_model, asked.rounds * 100)):
        with tempfile.TemporaryDirectory() as name:
            measured(Path(name), count)


if __name__ == "__main__":
    main()
