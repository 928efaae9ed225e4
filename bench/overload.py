"""More than can be served: does the rate hold, who is refused and how fast, is it over when it is over?

``python -m bench.overload [--rounds N]``. In turn: as many clients as keep the model busy; the same while ten
times as many requests a second as it can serve are sent to a stranger, who refuses all of them: that is what
sending them takes of this machine; then the model itself gets them, and has 500 slow senders and 500 idle
connections that hang on; then the first again.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from bench import deployed, ending, results, workload
from modeldeploy.client import load
from tests.e2e.instance import Instance

RESULT = results.FOLDER / "overload.json"
CROWD, TIMES = 500, 10
CLIENTS = 16
_QUEUE = 64
_SECONDS = 5.0
_KIND = "classification"


@dataclass
class Flood:
    """What became of the requests of one flood; times in seconds, from the request to its answer."""

    asked: int = 0
    served: list[float] = field(default_factory=list)  # when, of ``time.perf_counter``
    refused: list[float] = field(default_factory=list)
    told: set[int] = field(default_factory=set)  # seconds of Retry-After
    other: int = 0


@contextlib.asynccontextmanager
async def crowd(port: int, sent: bytes) -> AsyncIterator[None]:
    """Connections that have sent so much, and then nothing."""
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CROWD)]
    try:
        for _, writer in opened:
            writer.write(sent)
        yield
    finally:
        for _, writer in opened:
            writer.close()


def refuse_all() -> None:
    """Tell the port, and refuse whoever comes there."""
    refusal = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(refusal)
            await writer.drain()

    async def serve() -> None:
        server = await asyncio.start_server(refuse, "127.0.0.1", backlog=1024)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    uvloop.run(serve())


@contextlib.contextmanager
def stranger() -> Iterator[int]:
    """The port of a process that refuses everybody at once."""
    script = "import bench.overload as b; b.refuse_all()"
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


async def _one(port: int, request: bytes, flood: Flood) -> None:
    begun = time.perf_counter()
    flood.asked += 1
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        flood.other += 1
        return
    with contextlib.closing(writer):
        writer.write(request)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
        except (OSError, asyncio.IncompleteReadError):
            flood.other += 1
            return
    ended = time.perf_counter()
    if head[9:12] == b"200":
        flood.served.append(ended)
    elif head[9:12] == b"429":
        flood.refused.append(ended - begun)
        flood.told.add(int(head.partition(b"retry-after:")[2].split(b"\r\n")[0]))
    else:
        flood.other += 1


async def flood(port: int, wire: list[bytes], rate: float, seconds: float) -> tuple[Flood, float]:
    """``rate`` requests a second, whatever comes of them; and good answers a second, of the time in
    which they came."""
    found = Flood()
    asked: list[asyncio.Future[None]] = []
    begun = time.perf_counter()
    while (now := time.perf_counter()) < begun + seconds:
        for _ in range(round((now - begun) * rate) - len(asked)):
            asked.append(asyncio.ensure_future(_one(port, wire[len(asked) % len(wire)], found)))
        await asyncio.sleep(0.005)
    await asyncio.gather(*asked)
    warm = begun + 1.0  # until then it has not been full
    served = sum(warm <= at < begun + seconds for at in found.served)
    return found, served / (begun + seconds - warm)


async def _round(port: int, wire: list[bytes]) -> dict[str, float]:
    peak = (await load.measure("127.0.0.1", port, wire, CLIENTS, seconds=_SECONDS)).rate
    with stranger() as other:
        elsewhere, _ = await asyncio.gather(
            load.measure("127.0.0.1", port, wire, CLIENTS, seconds=_SECONDS),
            flood(other, wire, TIMES * peak, _SECONDS),
        )
    async with crowd(port, b""), crowd(port, wire[0][:-5]):
        found, under = await flood(port, wire, TIMES * peak, _SECONDS)
    after = (await load.measure("127.0.0.1", port, wire, CLIENTS, seconds=_SECONDS)).rate
    refused = sorted(found.refused)
    return {
        "peak": peak,
        "elsewhere": elsewhere.rate,
        "under": under,
        "after": after,
        "asked": found.asked,
        "served": len(found.served),
        "refused": len(refused),
        "other": found.other,
        "refused_ms_median": statistics.median(refused) * 1000,
        "refused_ms_99": refused[int(len(refused) * 0.99)] * 1000,
        "retry_after_least": min(found.told),
        "retry_after_most": max(found.told),
    }


def main() -> None:
    ending.heed()
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    make, task = workload.MODELS[_KIND]
    with tempfile.TemporaryDirectory(prefix="md-") as name:
        folder = Path(name)
        instance = Instance(
            folder / "home", MODELDEPLOY_MAX_QUEUE=str(_QUEUE), MODELDEPLOY_OPTIMIZE_AFTER="100000"
        )
        try:
            model = str(make(folder / "model"))
            port = int(instance.deploy(model, "--name", "m", "--task", task)["port"])
            wire = deployed.requests(port, _KIND, [[text] for text in workload.texts(50, 40)])
            rounds = [asyncio.run(_round(port, wire)) for _ in range(asked.rounds)]
        finally:
            instance.close()
    results.save(RESULT, {**results.header("overload"), "queue": _QUEUE, "rounds": rounds})
    for title in rounds[0]:
        print(f"  {title:<20}", *(f"{one[title]:10.2f}" for one in rounds))


if __name__ == "__main__":
    main()
