"""Streaming chat over HTTP against ``model.generate`` in this process, interleaved in one run.

``python -m bench.writing [--rounds N] [--device cuda] [--dtype float32] [--options --optimize]``
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "5000")

from bench import deployed, ending
from bench.aside import Aside
from bench.stream import Streamed, stream
from modeldeploy.client import load
from tests.e2e.instance import Instance
from tests.models import smollm2

CLIENTS = (1, 4, 8)
NEW = 64
PROMPT = "Tell me a long story about a small town by the sea, please."
_SYSTEM = "You answer in whole sentences, you are kind, and you never make things up. " * 25
_COMING = 15.0  # seconds of clients that come and go
_FEWEST, _MOST = 16, 96  # tokens that each of these asks for
_STREAMS = 7  # that go on while a long prompt is read
# How many tokens these have, and how many seconds before it comes.
_AROUND = {"cpu": (120, 3.5), "cuda": (1500, 1.0)}


_NUMBERS = itertools.count()


def _user(text: str, system: str = "") -> list[dict[str, str]]:
    told = [{"role": "system", "content": system}] if system else []
    return [*told, {"role": "user", "content": text}]


def _body(messages: list[dict[str, str]], new: int, *, stream: bool) -> bytes:
    body = {"model": "m", "messages": messages, "max_tokens": new, "stream": stream}
    return json.dumps({**body, "temperature": 0}).encode()


async def _stream(port: int, messages: list[dict[str, str]], new: int = NEW) -> Streamed:
    return await stream(port, "/v1/chat/completions", _body(messages, new, stream=True))


async def _clients(port: int, count: int) -> tuple[float, float]:
    """Tokens a second of all, and the median time to the first token, in milliseconds."""
    begun = time.perf_counter()
    told = [_user(f"{next(_NUMBERS)}. {PROMPT}") for _ in range(count)]  # they do not begin alike
    found = await asyncio.gather(*(_stream(port, one) for one in told))
    seconds = max(one.pieces[-1][0] for one in found) - begun
    tokens = sum(len(one.pieces) for one in found)
    return tokens / seconds, statistics.median(one.first for one in found) * 1000


async def _coming_and_going(port: int, count: int) -> float:
    """Tokens a second of so many clients, each of whom asks again for another number of tokens."""
    begun = time.perf_counter()
    lengths = random.Random(0)

    async def client(number: int) -> int:
        tokens = asked = 0
        while time.perf_counter() - begun < _COMING:
            asked += 1
            told = _user(f"{number} {asked}. {PROMPT}")
            found = await _stream(port, told, lengths.randint(_FEWEST, _MOST))
            tokens += sum(at < begun + _COMING for at, _ in found.pieces)
        return tokens

    return sum(await asyncio.gather(*map(client, range(count)))) / _COMING


async def _gap(port: int, turn: int, device: str) -> float:
    """The longest time between two tokens of streams while a stranger's long prompt is read, over
    their median one."""
    tokens, seconds = _AROUND[device]
    others = [
        asyncio.create_task(_stream(port, _user(f"{turn} {n}. {PROMPT}"), tokens))
        for n in range(_STREAMS)
    ]
    await asyncio.sleep(seconds)
    stranger = await _stream(port, _user(PROMPT, f"{turn}. {_SYSTEM}"), 2)
    gaps: list[float] = []
    for one in await asyncio.gather(*others):
        times = [at for at, _ in one.pieces]
        gaps += [
            later - sooner for sooner, later in itertools.pairwise(times) if later > stranger.begun
        ]
    return max(gaps) / statistics.median(gaps)


async def _first(port: int, messages: list[dict[str, str]]) -> float:
    return (await _stream(port, messages, 2)).first * 1000


def limit(snapshot: str, device: str, dtype: str) -> None:
    """``generate``: for each line "batch tokens" on stdin, prints the seconds that it takes."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(snapshot, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(snapshot, dtype=getattr(torch, dtype)).eval()
    model.to(device)
    print("ready", flush=True)
    for line in sys.stdin:
        batch, new = map(int, line.split())
        texts = [
            tokenizer.apply_chat_template(
                _user(f"{PROMPT} {n}"), tokenize=False, add_generation_prompt=True
            )
            for n in range(batch)
        ]
        begun = time.perf_counter()
        given = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        given = given.to(device)
        with torch.inference_mode():
            found = model.generate(**given, do_sample=False, min_new_tokens=new, max_new_tokens=new)
            found.cpu()
        print(f"{time.perf_counter() - begun:.4f}", flush=True)


def _round(generate: Aside, port: int, turn: int, device: str) -> dict[str, float]:
    taken: dict[str, float] = {}
    for count in CLIENTS:
        taken[f"generate, batch {count}"] = count * NEW / generate.ask(count, NEW)
        rate, first = asyncio.run(_clients(port, count))
        taken[f"{count} clients"] = rate
        taken[f"{count} clients, first token ms"] = first
    taken[f"{max(CLIENTS)} clients, coming and going"] = asyncio.run(
        _coming_and_going(port, max(CLIENTS))
    )
    taken["generate, first token ms"] = generate.ask(1, 1) * 1000
    taken["first token ms"] = asyncio.run(_first(port, _user(f"{turn} {PROMPT}")))
    taken["a long prompt joins: longest gap over step"] = asyncio.run(_gap(port, turn, device))
    told = _user(PROMPT, f"Round {turn}. {_SYSTEM}")
    for what in ("new", "seen"):
        taken[f"long system prompt, {what}, ms"] = asyncio.run(_first(port, told))
    return taken


def main() -> None:
    ending.heed()
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--snapshot", type=Path)
    parser.add_argument("--options", default="", help="of our deploy, such as --optimize")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        snapshot = asked.snapshot or smollm2.convert(folder / "m")
        where = [asked.device, asked.dtype]
        script = f"import bench.writing as b; b.limit(*{[str(snapshot), *where]!r})"
        generate = Aside(["-c", script])
        instance = Instance(folder / "home", MODELDEPLOY_WARM_START="true")
        try:
            options = ["--name", "m", "--device", where[0], "--dtype", where[1]]
            options += asked.options.split()
            port = int(instance.deploy(str(snapshot), *options)["port"])
            wire = _body(_user(PROMPT), NEW, stream=False)
            route = ("/v1/chat/completions", wire, "application/json")
            deployed.settle(port, [load.post("127.0.0.1", port, *route)])
            rounds = [_round(generate, port, turn, asked.device) for turn in range(asked.rounds)]
        finally:
            generate.close()
            instance.close()
    print(
        f"SmolLM2-135M, {asked.device}, {asked.dtype} {asked.options} ({asked.rounds} rounds, medians)"
    )
    for title in rounds[0]:
        print(f"  {title:<44} {statistics.median(one[title] for one in rounds):9.1f}")


if __name__ == "__main__":
    main()
