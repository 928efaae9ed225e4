"""A closed loop of clients: each sends its next request when it has the answer to the last.

One process, one event loop, nothing but sockets: it must cost little beside what it measures.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

_HEAD_END = b"\r\n\r\n"
_LIMIT = 64 * 1024 * 1024


@dataclass
class Measured:
    """``seconds`` is how long it took in all, ``latencies`` are those of good answers (seconds),
    ``statuses`` what was answered, 0 where a connection broke."""

    clients: int
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    def quantile(self, share: float) -> float:
        """The latency, in seconds, that so many of the answers were within."""
        if len(self.latencies) < 2:
            return self.latencies[0] if self.latencies else 0.0
        cuts = statistics.quantiles(self.latencies, n=1000, method="inclusive")
        return cuts[min(998, max(0, round(share * 1000) - 1))]


def post(
    host: str, port: int, path: str, body: bytes, content_type: str, key: str | None = None
) -> bytes:
    """A request as it stands on the wire; ``key`` is an API key."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: {host}:{port}\r\ncontent-type: {content_type}\r\n"
        f"content-length: {len(body)}\r\n"
    )
    head += f"x-api-key: {key}\r\n\r\n" if key else "\r\n"
    return head.encode("ascii") + body


async def measure(
    host: str,
    port: int,
    requests: Sequence[bytes],
    clients: int,
    *,
    seconds: float | None = None,
    count: int | None = None,
) -> Measured:
    """``requests`` in turn, again and again, for ``seconds`` or until ``count`` were sent, whichever
    is first; what was sent by then is answered."""
    found = Measured(clients)
    endless = itertools.cycle(requests)
    todo = iter(endless) if count is None else itertools.islice(endless, count)
    begun = time.perf_counter()
    until = None if seconds is None else begun + seconds
    await asyncio.gather(*(_client(host, port, todo, until, found) for _ in range(clients)))
    found.seconds = time.perf_counter() - begun
    return found


async def _client(
    host: str, port: int, todo: Iterator[bytes], until: float | None, found: Measured
) -> None:
    reader, writer = await asyncio.open_connection(host, port, limit=_LIMIT)
    try:
        for request in todo:
            begun = time.perf_counter()
            if until is not None and begun >= until:
                return
            writer.write(request)
            status, closes = await _answer(reader)
            if status == 200:
                found.latencies.append(time.perf_counter() - begun)
            found.statuses[status] += 1
            if closes:
                writer.close()
                reader, writer = await asyncio.open_connection(host, port, limit=_LIMIT)
    except (OSError, asyncio.IncompleteReadError):
        found.statuses[0] += 1
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """The answer's status, and whether the connection ends with it. Its body is read and left."""
    head = (await reader.readuntil(_HEAD_END)).lower()
    status = int(head[9:12])
    length = _header(head, b"content-length:")
    if length is not None:
        await reader.readexactly(int(length))
    else:
        while size := int(await reader.readuntil(b"\r\n"), 16):
            await reader.readexactly(size + 2)
        await reader.readexactly(2)
    return status, b"\r\nconnection: close" in head


def _header(head: bytes, name: bytes) -> bytes | None:
    at = head.find(b"\r\n" + name)
    if at < 0:
        return None
    return head[at + len(name) + 2 : head.index(b"\r\n", at + 2)].strip()
