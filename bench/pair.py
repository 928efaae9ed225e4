"""Two busy deployments at once: the sum of their throughput over that of one alone.

``python -m bench.pair [--rounds N] [--clients N] [--json FILE]``
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from bench import ending, results, workload
from bench.deployed import requests, settle, together
from bench.peers.measuring import Alone
from tests.e2e.instance import Instance

_IDLE_SECONDS = 6.0  # until the other is known to be idle, and one has all threads


def main() -> None:
    ending.heed()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=8, help="of each deployment")
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--json", type=Path, default=results.FOLDER / "pair.json")
    parser.add_argument("--lock", type=Path, help="a file to lock while it is measured")
    asked = parser.parse_args()
    with Alone(asked.lock):
        found = measure(asked.rounds, asked.clients, asked.seconds)
    results.save(asked.json, found)
    one, two = results.median(found["one"]), results.median(found["two"])
    print(
        f"all-MiniLM-L6-v2, {asked.clients} clients a deployment ({asked.rounds} rounds, medians)"
    )
    print(f"  one deployment alone     {results.number(one)} texts a second")
    print(f"  two at once, their sum   {results.number(two)}")
    print(f"  of one alone             {results.number(results.ratio(two, one))}")


def measure(rounds: int, clients: int, seconds: float) -> dict[str, list[float]]:
    found = {**results.header("pair"), "clients": clients, "one": [], "two": []}
    texts = workload.texts()
    with tempfile.TemporaryDirectory() as name:
        model = str(workload.embedder(Path(name)))
        instance = Instance(Path(name) / "home", MODELDEPLOY_WARM_START="true")
        try:
            ports = [
                int(instance.deploy(model, "--name", one, "--task", "feature-extraction")["port"])
                for one in ("first", "second")
            ]
            wire = requests(ports[0], "embeddings", [[text] for text in texts])
            settle(ports[0], wire)
            for name in ("first", "second"):  # both on the graph that the first one made
                instance.run("restart", name)
            for turn in range(rounds):
                time.sleep(_IDLE_SECONDS)
                single = asyncio.run(together([ports[turn % 2]], texts, clients, seconds))
                found["one"].append(single)
                found["two"].append(asyncio.run(together(ports, texts, clients, seconds)))
        finally:
            instance.close()
    return found


if __name__ == "__main__":
    main()
