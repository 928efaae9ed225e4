"""From ``deploy`` typed to the first answer of a cached model of a Hub (on the loopback, which is asked for
its commit), against transformers' pipeline on the same files in a process of its own; and what one more
deployment takes of memory.

Whole processes, interleaved, medians. ``python -m bench.cold [--rounds N] [--json FILE]``
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from bench import ending, results, workload
from bench.deployed import requests, settle
from tests.e2e.instance import Instance, post
from tests.fakehub import FakeHub

_MODEL = "bench/all-MiniLM-L6-v2"
_PIPELINE = """
from transformers import pipeline
pipeline("feature-extraction", model={model!r}, device="cpu")("a text")
"""


_FORMS = ("on torch", "on its graph")


def main() -> None:
    ending.heed()
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, default=results.FOLDER / "cold.json")
    asked = parser.parse_args()
    found = measure(asked.rounds)
    results.save(asked.json, found)
    piped = results.median(found["pipeline_s"])
    print(f"all-MiniLM-L6-v2, cached, supervisor warm ({asked.rounds} rounds, medians)")
    print(f"  python -c 'pipeline(...)(...)'   {results.number(piped)} s")
    for how in _FORMS:
        seconds, memory = (results.median(found[what][how]) for what in ("answer_s", "memory_mb"))
        ratio = results.number(results.ratio(seconds, piped))
        print(f"  {how}: deploy typed until the first answer {results.number(seconds)} s", end="")
        print(f" ({ratio} of that), private memory {results.number(memory)} MB")


def measure(rounds: int) -> dict[str, Any]:
    """Seconds and MB of each round."""
    found: dict[str, Any] = {
        **results.header("cold"),
        "pipeline_s": [],
        "answer_s": {how: [] for how in _FORMS},
        "memory_mb": {how: [] for how in _FORMS},
    }
    with tempfile.TemporaryDirectory() as name, FakeHub() as hub:
        model = str(workload.embedder(Path(name)))
        hub.add(_MODEL, Path(model))
        instance = Instance(
            Path(name) / "home", ports=2 * rounds + 2, MODELDEPLOY_WARM_START="true"
        )
        instance.use_hub(hub.endpoint)
        try:
            first = _deploy(instance, "first")
            for how in _FORMS:
                if how == "on its graph":
                    port = int(first["port"])
                    settle(port, requests(port, "embeddings", [["a text"]]))
                for turn in range(rounds):
                    found["pipeline_s"].append(_pipeline(model))
                    seconds, memory = _turn(instance, f"{how.split()[-1]}-{turn}")
                    found["answer_s"][how].append(seconds)
                    found["memory_mb"][how].append(memory)
        finally:
            instance.close()
    return found


def _deploy(instance: Instance, name: str) -> dict[str, Any]:
    return instance.deploy(_MODEL, "--name", name, "--task", "feature-extraction")


def _turn(instance: Instance, name: str) -> tuple[float, float]:
    """Seconds from ``deploy`` typed to the first answer, and MB of memory of its own."""
    begun = time.perf_counter()
    shown = _deploy(instance, name)
    post(f"{shown['url']}/predict", {"text": "a text"})
    seconds = time.perf_counter() - begun
    pid = instance.inspect(name)["replicas"][0]["pid"]
    return seconds, psutil.Process(pid).memory_full_info().uss / 2**20


def _pipeline(model: str) -> float:
    begun = time.perf_counter()
    command = [sys.executable, "-c", _PIPELINE.format(model=model)]
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
