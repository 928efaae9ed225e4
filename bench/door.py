"""What the front door costs: the same worker asked at its own port and through the gateway, by turns
in one run, with a model that does nothing; and with a tiny one of embeddings, by a body's ``model``.

``python -m bench.door [--rounds N] [--clients N ...]``
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from functools import partial
from pathlib import Path

import uvloop

from bench import ending
from modeldeploy.client import load
from tests.e2e.instance import Instance, eventually, get
from tests.models import tiny

CLIENTS = [1, 8, 32]
SECONDS = 1.5
BODY = json.dumps({"text": "so many bytes"}).encode()
TENSORS = json.dumps(
    {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["so many bytes"]}]}
).encode()
EMBEDDINGS = json.dumps({"model": "m", "input": "so many bytes"}).encode()


def is_healthy(url: str) -> bool:
    return get(url)[0] == 200


def ask(port: int, path: str, body: bytes, clients: int) -> load.Measured:
    request = load.post("127.0.0.1", port, path, body, "application/json")
    found = uvloop.run(load.measure("127.0.0.1", port, [request], clients, seconds=SECONDS))
    assert set(found.statuses) == {200}, found.statuses
    return found


def ways(instance: Instance, port: int, tiny_port: int) -> dict[str, tuple[int, str, bytes]]:
    front = instance.gateway_port
    return {
        "direct": (port, "/predict", BODY),
        "gateway": (front, "/deployments/e/predict", BODY),
        "direct, tensors": (port, "/v2/models/e/infer", TENSORS),
        "gateway, tensors": (front, "/v2/models/e/infer", TENSORS),
        "direct, /v1": (tiny_port, "/v1/embeddings", EMBEDDINGS),
        "gateway, /v1": (front, "/v1/embeddings", EMBEDDINGS),
    }


def measure(asked_ways: dict[str, tuple[int, str, bytes]], rounds: int, counts: list[int]) -> None:
    taken: dict[tuple[str, int], list[load.Measured]] = {}
    for number in range(rounds + 1):
        for clients in counts:
            for name, (at, path, body) in asked_ways.items():
                found = ask(at, path, body, clients)
                if number:  # the first round warms
                    taken.setdefault((name, clients), []).append(found)
    print(f"at its own port and through the gateway ({rounds} rounds, medians)")
    for clients in counts:
        for name in asked_ways:
            found_ = taken[name, clients]
            rate = statistics.median(one.rate for one in found_)
            p50, p99 = (
                statistics.median(one.quantile(share) for one in found_) * 1000
                for share in (0.5, 0.99)
            )
            print(
                f"  {name:<17} {clients:>3} clients {rate:8.0f} requests/s"
                f"   p50 {p50:6.2f} ms   p99 {p99:6.2f} ms"
            )


def main() -> None:
    ending.heed()
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="md-") as folder:
        model = Path(folder) / "echo"
        model.mkdir()
        (model / "config.json").write_text('{"model_type": "echo", "architectures": ["Echo"]}')
        instance = Instance(Path(folder) / "home", MODELDEPLOY_GATEWAY="true")
        try:
            port = instance.deploy(str(model), "--name", "e")["port"]
            encoder = tiny.sentence_encoder(Path(folder) / "encoder", "mean")
            tiny_port = instance.deploy(str(encoder), "--name", "m", "--threads", "1")["port"]
            for name in ("e", "m"):
                eventually(partial(is_healthy, f"{instance.front}/deployments/{name}/health"))
            measure(ways(instance, port, tiny_port), asked.rounds, asked.clients)
        finally:
            instance.close()


if __name__ == "__main__":
    main()
