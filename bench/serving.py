"""Throughput over HTTP against the model's own limit, interleaved in one run.

``python -m bench.serving [embeddings] [classification] [--rounds N] [--device cuda --dtype float16]``
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
from pathlib import Path

from bench import ending, workload
from bench.aside import Aside
from bench.deployed import requests, settle
from modeldeploy.client import load
from tests.e2e.instance import Instance, get

CLIENTS = (1, 8, 32)
SECONDS = 8.0
# Tokens of a batch in process, of which the one that is the fastest at the median is the limit.
_BATCHES, _BATCHES_ON_GPU = (128, 256, 512, 1024), (4096, 16384, 65536)
_SHORT, _LONG, _OTHERS = 3, 110, 7


async def _mixed(port: int, kind: str) -> float:
    """A short text's p99 while seven clients ask for long ones, over what all of them wait on average."""
    short, long = (
        requests(port, kind, [[" ".join(["time"] * words)]]) for words in (_SHORT, _LONG)
    )
    one, others = await asyncio.gather(
        load.measure("127.0.0.1", port, short, 1, seconds=SECONDS),
        load.measure("127.0.0.1", port, long, _OTHERS, seconds=SECONDS),
    )
    return one.quantile(0.99) / statistics.mean([*one.latencies, *others.latencies])


def measure(kind: str, folder: Path, rounds: int, device: str, dtype: str) -> None:
    make, task = workload.MODELS[kind]
    where = ["--device", device, "--dtype", dtype]
    snapshot = make(folder / kind)
    instance = Instance(folder / f"home-{kind}", MODELDEPLOY_WARM_START="true")
    limits: dict[str, Aside] = {}
    try:
        shown = instance.deploy(str(snapshot), "--name", "m", "--task", task, *where)
        port = int(shown["port"])
        texts = workload.texts()
        wire = requests(port, kind, [[text] for text in texts])
        listed = requests(port, kind, [texts])
        settle(port, wire)
        runs = get(f"{shown['url']}/info")[1]["runs"]
        graphs = Path(shown["spec"]["cache_dir"]) / ".modeldeploy-graphs"
        limits = {
            how: Aside(["-m", "bench.limit", str(snapshot), task, how, str(graphs), device, dtype])
            for how in ("auto", "plain")
        }
        taken: dict[str, list[float]] = {}
        for _ in range(rounds):
            for how, limit in limits.items():
                for tokens in _BATCHES if device == "cpu" else _BATCHES_ON_GPU:
                    name = f"in process, {how}, {tokens}"
                    taken.setdefault(name, []).append(limit.ask(tokens))
            for clients in CLIENTS:
                found = asyncio.run(load.measure("127.0.0.1", port, wire, clients, seconds=SECONDS))
                taken.setdefault(f"{clients} clients", []).append(found.rate)
                taken.setdefault(f"{clients} clients, p50 ms", []).append(
                    found.quantile(0.5) * 1000
                )
            whole = asyncio.run(load.measure("127.0.0.1", port, listed, 1, count=1))
            assert whole.statuses == {200: 1}, whole.statuses
            taken.setdefault(f"1 request of {len(texts)}", []).append(len(texts) / whole.seconds)
            waits = asyncio.run(_mixed(port, kind))
            taken.setdefault("short among long, times", []).append(waits)
    finally:
        for limit in limits.values():
            limit.close()
        instance.close()
    base = max(
        statistics.median(rates) for name, rates in taken.items() if name.startswith("in process")
    )
    print(f"{kind} ({rounds} rounds, medians); how it runs: {runs}")
    for name, values in taken.items():
        middle = statistics.median(values)
        is_rate = not name.endswith(("ms", "times"))
        ratio = f"   {middle / base:5.2f} x the limit" if is_rate else ""
        print(f"  {name:<26} {middle:9.1f}{ratio}")


def main() -> None:
    ending.heed()
    parser = argparse.ArgumentParser()
    parser.add_argument("kinds", nargs="*", default=list(workload.MODELS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for kind in asked.kinds:
            measure(kind, Path(folder), asked.rounds, asked.device, asked.dtype)


if __name__ == "__main__":
    main()
