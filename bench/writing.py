"""Streaming chat over HTTP against ``model.generate`` in this process, interleaved in one run.

``python -m bench.writing [--rounds N] [--dtype float32]``
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "5000")

from bench.stream import Streamed, stream
from tests.e2e.instance import Instance
from tests.models import smollm2

CLIENTS = (1, 4, 8)
NEW = 48
PROMPT = "Tell me a long story about a small town by the sea, please."
_SYSTEM = "You answer in whole sentences, you are kind, and you never make things up. " * 25


async def _stream(port: int, messages: list[dict[str, str]]) -> Streamed:
    body = {"model": "m", "messages": messages, "max_tokens": NEW, "stream": True, "temperature": 0}
    return await stream(port, "/v1/chat/completions", json.dumps(body).encode())


async def _clients(port: int, count: int) -> tuple[float, float]:
    """Tokens a second of all, and the median time to the first token, in milliseconds."""
    begun = time.perf_counter()
    told = [[{"role": "user", "content": f"{PROMPT} {n}"}] for n in range(count)]
    found = await asyncio.gather(*(_stream(port, one) for one in told))
    seconds = max(one.pieces[-1][0] for one in found) - begun
    tokens = sum(len(one.pieces) for one in found)
    return tokens / seconds, statistics.median(one.first for one in found) * 1000


async def _first(port: int, system: str) -> float:
    messages = [{"role": "system", "content": system}, {"role": "user", "content": PROMPT}]
    return (await _stream(port, messages)).first * 1000


def limit(snapshot: str, dtype: str) -> None:
    """``generate``: prints tokens a second for each batch size on stdin."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(snapshot, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(snapshot, dtype=getattr(torch, dtype)).eval()
    print("ready", flush=True)
    for line in sys.stdin:
        texts = [
            tokenizer.apply_chat_template(
                [{"role": "user", "content": f"{PROMPT} {n}"}],
                tokenize=False,
                add_generation_prompt=True,
            )
            for n in range(int(line))
        ]
        given = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        begun = time.perf_counter()
        with torch.inference_mode():
            model.generate(**given, do_sample=False, min_new_tokens=NEW, max_new_tokens=NEW)
        print(f"{len(texts) * NEW / (time.perf_counter() - begun):.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--snapshot", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        snapshot = asked.snapshot or smollm2.convert(folder / "m")
        script = f"import bench.writing as b; b.limit({str(snapshot)!r}, {asked.dtype!r})"
        generate = subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert generate.stdin is not None
        assert generate.stdout is not None
        generate.stdout.readline()
        instance = Instance(folder / "home", MODELDEPLOY_WARM_START="true")
        taken: dict[str, list[float]] = {}
        try:
            shown = instance.deploy(str(snapshot), "--name", "m", "--dtype", asked.dtype)
            port = int(shown["port"])
            for turn in range(asked.rounds):
                for count in CLIENTS:
                    print(count, file=generate.stdin, flush=True)
                    rate = float(generate.stdout.readline())
                    taken.setdefault(f"generate, batch {count}", []).append(rate)
                    rate, first = asyncio.run(_clients(port, count))
                    taken.setdefault(f"{count} clients", []).append(rate)
                    taken.setdefault(f"{count} clients, first token ms", []).append(first)
                system = f"Round {turn}. {_SYSTEM}"
                for what in ("new", "seen"):
                    first = asyncio.run(_first(port, system))
                    taken.setdefault(f"long system prompt, {what}, ms", []).append(first)
        finally:
            generate.stdin.close()
            generate.wait()
            instance.close()
    print(f"SmolLM2-135M, {asked.dtype} ({asked.rounds} rounds, medians)")
    for title, values in taken.items():
        print(f"  {title:<34} {statistics.median(values):9.1f}")


if __name__ == "__main__":
    main()
