"""How cost grows: with clients, with the length of a text, with what waits, with deployments.

``python -m bench.scaling [clients] [tokens] [queued] [deployments] [--json FILE]``; curves that are not
measured stay in the file as they were.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from bench import ending, results, workload
from bench.deployed import requests, settle
from bench.peers.measuring import Alone
from modeldeploy.client import load
from tests.e2e.instance import Instance, post

Curve = dict[str, list[float | None]]
_CLIENTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_TOKENS = (3, 8, 16, 32, 64, 128, 256, 512)
_QUEUED = (10, 100, 1_000, 10_000)
_DEPLOYMENTS = 20
_TIMES = 15


def clients(folder: Path, seconds: float) -> Curve:
    """One text a request, closed loop."""
    curve: Curve = {"clients": [], "texts_per_s": [], "p50_ms": [], "p95_ms": []}
    with _Deployed(folder) as deployed:
        wire = requests(deployed.port, "embeddings", [[text] for text in workload.texts()])
        for count in _CLIENTS:
            found = asyncio.run(
                load.measure("127.0.0.1", deployed.port, wire, count, seconds=seconds)
            )
            curve["clients"].append(count)
            curve["texts_per_s"].append(found.rate)
            curve["p50_ms"].append(found.quantile(0.5) * 1000)
            curve["p95_ms"].append(found.quantile(0.95) * 1000)
    return curve


def tokens(folder: Path, seconds: float) -> Curve:
    """One client, one text of so many tokens, the two around it counted, to a classifier (the other
    model's window is shorter)."""
    curve: Curve = {"tokens": [], "p50_ms": []}
    with _Deployed(folder, "classification") as deployed:
        for count in _TOKENS:
            text = " ".join(["time"] * (count - 2))
            taken = []
            for _ in range(_TIMES):
                begun = time.perf_counter()
                status, _answer = post(f"{deployed.url}/predict", {"text": text})
                assert status == 200, _answer
                taken.append(time.perf_counter() - begun)
            curve["tokens"].append(count)
            curve["p50_ms"].append(statistics.median(taken) * 1000)
    return curve


def queued(folder: Path, seconds: float) -> Curve:
    """So many texts of 16 tokens that wait at once, in ten requests: what each of them costs."""
    curve: Curve = {"queued": [], "texts_per_s": []}
    limits = {"MODELDEPLOY_MAX_TEXTS": "10000", "MODELDEPLOY_MAX_QUEUE": "20000"}
    with _Deployed(folder, MODELDEPLOY_REQUEST_TIMEOUT="600", **limits) as deployed:
        for count in _QUEUED:
            texts = [" ".join(["time"] * 14)] * (count // 10)
            wire = requests(deployed.port, "embeddings", [texts])
            found = asyncio.run(load.measure("127.0.0.1", deployed.port, wire, 10, count=10))
            assert found.statuses == {200: 10}, found.statuses
            curve["queued"].append(count)
            curve["texts_per_s"].append(count / found.seconds)
    return curve


def deployments(folder: Path, seconds: float) -> Curve:
    """One after the other: how long ``deploy`` takes, and what all workers take together (PSS)."""
    with _Deployed(folder) as deployed:  # the first also waits for the template: it is not timed
        curve: Curve = {"deployments": [1], "deploy_s": [None], "workers_mb": [deployed.memory()]}
        for number in range(2, _DEPLOYMENTS + 1):
            begun = time.perf_counter()
            deployed.add(f"m{number}")
            curve["deployments"].append(number)
            curve["deploy_s"].append(time.perf_counter() - begun)
            curve["workers_mb"].append(deployed.memory())
    return curve


class _Deployed:
    """A workload's model, deployed as ``m`` in a modeldeploy of its own."""

    def __init__(self, folder: Path, kind: str = "embeddings", **environment: str) -> None:
        make, self._task = workload.MODELS[kind]
        self._kind = kind
        self._model = str(make(folder / "model"))
        self._instance = Instance(
            folder / "home", ports=_DEPLOYMENTS, MODELDEPLOY_WARM_START="true", **environment
        )

    def __enter__(self) -> _Deployed:
        try:
            self.add("m")
            shown = self._instance.inspect("m")
            self.port, self.url = int(shown["port"]), str(shown["url"])
            settle(self.port, requests(self.port, self._kind, [["a text"]]))
        except BaseException:
            self._instance.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._instance.close()

    def add(self, name: str) -> None:
        self._instance.deploy(self._model, "--name", name, "--task", self._task)

    def memory(self) -> float:
        found = 0
        for name in self._instance.names():
            for replica in self._instance.inspect(name)["replicas"]:
                info = psutil.Process(replica["pid"]).memory_full_info()
                found += getattr(info, "pss", info.rss)
        return found / 2**20


CURVES: dict[str, Callable[[Path, float], Curve]] = {
    "clients": clients,
    "tokens": tokens,
    "queued": queued,
    "deployments": deployments,
}


def main() -> None:
    ending.heed()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("curves", nargs="*", default=list(CURVES))
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--json", type=Path, default=results.FOLDER / "scaling.json")
    parser.add_argument("--lock", type=Path, help="a file to lock while a curve is measured")
    asked = parser.parse_args()
    before = json.loads(asked.json.read_text())["curves"] if asked.json.exists() else {}
    for name in asked.curves:
        with tempfile.TemporaryDirectory() as folder, Alone(asked.lock):
            curve = CURVES[name](Path(folder), asked.seconds)
        before[name] = {**curve, "commit": results.commit()}
        heads, columns = list(curve), list(curve.values())
        rows = [[results.number(value) for value in row] for row in zip(*columns, strict=True)]
        print(f"\n{name}\n{results.table(heads, rows)}", flush=True)
        results.save(asked.json, {**results.header("scaling"), "curves": before})


if __name__ == "__main__":
    main()
