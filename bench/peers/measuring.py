"""One turn of one server: started, warmed, asked, weighed, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.peers.process import Problem
from bench.peers.serving import Server
from modeldeploy.client import load

_WARM_CLIENTS = 8
_OVERTIME = 120.0


@dataclass(frozen=True)
class Case:
    """So many clients, and so many inputs in each of their requests."""

    label: str
    clients: int
    each: int = 1


@dataclass
class Taken:
    """Of one server, a value for each round; ``rates`` are inputs a second. ``problem`` says why it
    was given up."""

    rates: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    p50_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    p95_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    ready_s: list[float] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)
    failed_requests: int = 0
    problem: str = ""


@contextlib.contextmanager
def alone(lock: Path | None) -> Iterator[None]:
    """While ``lock`` is held others who take it wait: for machines that are shared."""
    if lock is None:
        yield
        return
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def turn(
    server: Server, inputs: Sequence[str], cases: Sequence[Case], seconds: float, taken: Taken
) -> None:
    """Adds to ``taken``. Whatever happens the server is stopped."""
    try:
        taken.ready_s.append(server.start(inputs[:1]))
        _run(server, inputs, Case("warm", _WARM_CLIENTS), min(2.0, seconds))
        for case in cases:
            found = _run(server, inputs, case, seconds)
            taken.rates[case.label].append(found.rate * case.each)
            taken.p50_ms[case.label].append(found.quantile(0.5) * 1000)
            taken.p95_ms[case.label].append(found.quantile(0.95) * 1000)
            taken.failed_requests += sum(n for s, n in found.statuses.items() if s != 200)
        taken.memory_mb.append(server.memory())
    finally:
        server.stop()


def _run(server: Server, inputs: Sequence[str], case: Case, seconds: float) -> load.Measured:
    asks = [server.ask(some) for some in _chunks(inputs, case.each)]
    requests = [
        load.post("127.0.0.1", server.port, ask.path, ask.body, ask.content_type) for ask in asks
    ]
    running = load.measure("127.0.0.1", server.port, requests, case.clients, seconds=seconds)
    try:
        found = asyncio.run(asyncio.wait_for(running, seconds + _OVERTIME))
    except (TimeoutError, asyncio.TimeoutError):
        raise Problem(f"{case.label}: stopped answering") from None
    except OSError as error:
        raise Problem(f"{case.label}: {error}") from None
    if not found.latencies:
        raise Problem(f"{case.label}: no good answer, but {dict(found.statuses)}")
    return found


def _chunks(inputs: Sequence[str], each: int) -> list[Sequence[str]]:
    """All inputs, ``each`` at a time, again from the start where there are fewer."""
    count = max(1, len(inputs) // each)
    endless = list(inputs) * (1 + each // len(inputs))
    return [endless[n * each : (n + 1) * each] for n in range(count)]
