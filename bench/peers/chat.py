"""One turn of one server that writes: clients that come back at once, tokens counted alike for all."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.peers.measuring import Taken
from bench.peers.process import Problem
from bench.peers.serving import Server
from bench.stream import Streamed, stream

_PROMPT = "Tell me a long story about a small town by the sea, please."
_OVERTIME = 180.0


def turn(
    server: Server, snapshot: Path | None, counts: Sequence[int], seconds: float, taken: Taken
) -> None:
    """Adds to ``taken``: tokens a second of all clients, and as latencies those of first tokens."""
    from tokenizers import Tokenizer

    assert snapshot is not None
    tokenizer = Tokenizer.from_file(str(snapshot / "tokenizer.json"))
    prompts = (f"{n}. {_PROMPT}" for n in itertools.count())  # they do not begin alike
    try:
        taken.ready_s.append(server.start([next(prompts)]))
        for count in counts:
            begun = time.perf_counter()
            found = asyncio.run(_all(server, prompts, count, seconds))
            elapsed = time.perf_counter() - begun
            label = str(count)
            good = [one for one in found if one.status == 200 and one.pieces]
            taken.failed_requests += len(found) - len(good)
            if not good:
                raise Problem(f"{label}: no good answer, but {[one.status for one in found]}")
            taken.rates[label].append(_tokens(tokenizer, good) / elapsed)
            firsts = sorted(one.first * 1000 for one in good)
            taken.p50_ms[label].append(statistics.median(firsts))
            taken.p95_ms[label].append(firsts[int(len(firsts) * 0.95)])
        taken.memory_mb.append(server.memory())
    finally:
        server.stop()


def _tokens(tokenizer: Any, streamed: Sequence[Streamed]) -> int:
    return sum(len(tokenizer.encode(one.text, add_special_tokens=False)) for one in streamed)


async def _all(
    server: Server, prompts: Iterator[str], count: int, seconds: float
) -> list[Streamed]:
    until = time.perf_counter() + seconds
    clients = asyncio.gather(*(_client(server, prompts, until) for _ in range(count)))
    try:
        found = await asyncio.wait_for(clients, seconds + _OVERTIME)
    except (TimeoutError, asyncio.TimeoutError):
        raise Problem(f"{count}: stopped answering") from None
    except OSError as error:
        raise Problem(f"{count}: {error}") from None
    return list(itertools.chain.from_iterable(found))


async def _client(server: Server, prompts: Iterator[str], until: float) -> list[Streamed]:
    found = []
    while time.perf_counter() < until:
        ask = server.ask([next(prompts)])
        found.append(await stream(server.port, ask.path, ask.body))
    return found
