"""From ``deploy`` typed to the first answer of a cached model, against transformers' pipeline in a
process of its own; and what one more deployment takes of memory.

Whole processes, interleaved, medians. ``python -m bench.cold [--rounds N]``
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from bench import workload
from tests.e2e.instance import Instance, post

_PIPELINE = """
from transformers import pipeline
pipeline("feature-extraction", model={model!r}, device="cpu")("a text")
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        model = str(workload.embedder(Path(name)))
        instance = Instance(Path(name) / "home", ports=rounds + 2, MODELDEPLOY_WARM_START="true")
        deployed, piped, private = [], [], []
        try:
            instance.deploy(model, "--name", "first", "--task", "feature-extraction")
            for turn in range(rounds):
                begun = time.perf_counter()
                shown = instance.deploy(model, "--name", f"m{turn}", "--task", "feature-extraction")
                post(f"{shown['url']}/predict", {"text": "a text"})
                deployed.append(time.perf_counter() - begun)
                pid = instance.inspect(f"m{turn}")["replicas"][0]["pid"]
                private.append(psutil.Process(pid).memory_full_info().uss / 2**20)
                begun = time.perf_counter()
                subprocess.run(
                    [sys.executable, "-c", _PIPELINE.format(model=model)],
                    check=True,
                    capture_output=True,
                )
                piped.append(time.perf_counter() - begun)
        finally:
            instance.close()
    one, other = statistics.median(deployed), statistics.median(piped)
    print(f"all-MiniLM-L6-v2, cached, supervisor warm ({rounds} rounds, medians)")
    print(f"  deploy typed until the first answer   {one:6.2f} s   {one / other:5.2f} x pipeline")
    print(f"  python -c 'pipeline(...)(...)'        {other:6.2f} s")
    print(f"  private memory of one more deployment {statistics.median(private):6.0f} MB")


if __name__ == "__main__":
    main()
