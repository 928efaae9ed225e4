"""From ``deploy`` typed to the first answer of a cached model of a Hub (on the loopback, which is asked for
its commit), against transformers' pipeline on the same files in a process of its own; and what one more
deployment takes of memory.

Whole processes, interleaved, medians. ``python -m bench.cold [--rounds N]``
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import psutil

from bench import ending, workload
from bench.deployed import requests, settle
from tests.e2e.instance import Instance, post
from tests.fakehub import FakeHub

_MODEL = "bench/all-MiniLM-L6-v2"
_PIPELINE = """
from transformers import pipeline
pipeline("feature-extraction", model={model!r}, device="cpu")("a text")
"""


def main() -> None:
    ending.heed()
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name, FakeHub() as hub:
        model = str(workload.embedder(Path(name)))
        hub.add(_MODEL, Path(model))
        instance = Instance(
            Path(name) / "home", ports=2 * rounds + 2, MODELDEPLOY_WARM_START="true"
        )
        instance.use_hub(hub.endpoint)
        taken: dict[str, list[float]] = defaultdict(list)
        try:
            first = _deploy(instance, "first")
            for turn in range(rounds):
                taken["pipeline"].append(_pipeline(model))
                _turn(instance, f"torch-{turn}", "on torch", taken)
            settle(int(first["port"]), requests(int(first["port"]), "embeddings", [["a text"]]))
            for turn in range(rounds):
                taken["pipeline"].append(_pipeline(model))
                _turn(instance, f"graph-{turn}", "on its graph", taken)
        finally:
            instance.close()
    piped = statistics.median(taken["pipeline"])
    print(f"all-MiniLM-L6-v2, cached, supervisor warm ({rounds} rounds, medians)")
    print(f"  python -c 'pipeline(...)(...)'          {piped:6.2f} s")
    for how in ("on torch", "on its graph"):
        seconds = statistics.median(taken[how])
        print(f"  deploy typed until the first answer, {how}   {seconds:6.2f} s", end="")
        print(f"   {seconds / piped:5.2f} x pipeline")
        memory = statistics.median(taken[f"{how}, memory"])
        print(f"  private memory of one more deployment, {how} {memory:6.0f} MB")


def _deploy(instance: Instance, name: str) -> dict[str, Any]:
    return instance.deploy(_MODEL, "--name", name, "--task", "feature-extraction")


def _turn(instance: Instance, name: str, how: str, taken: dict[str, list[float]]) -> None:
    begun = time.perf_counter()
    shown = _deploy(instance, name)
    post(f"{shown['url']}/predict", {"text": "a text"})
    taken[how].append(time.perf_counter() - begun)
    pid = instance.inspect(name)["replicas"][0]["pid"]
    taken[f"{how}, memory"].append(psutil.Process(pid).memory_full_info().uss / 2**20)


def _pipeline(model: str) -> float:
    begun = time.perf_counter()
    command = [sys.executable, "-c", _PIPELINE.format(model=model)]
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
