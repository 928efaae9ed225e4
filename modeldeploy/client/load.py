"""A closed loop of clients: each sends its next request when it has the answer to the last.

One process, one event loop, nothing but sockets: it must cost little beside what it measures.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

_HEAD_END = b"\r\n\r\n"
_LIMIT = 64 * 1024 * 1024
_DATA = b"data:"


@dataclass
class Measured:
    """``seconds`` is how long it took in all, ``latencies`` are those of good answers (seconds),
    ``statuses`` what was answered, 0 where a connection broke, or a stream without its end. Of good
    answers that are streams ``firsts`` are the seconds to their first event, ``events`` how many they had."""

    clients: int
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    firsts: list[float] = field(default_factory=list)
    events: int = 0

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    @property
    def event_rate(self) -> float:
        """Events of good answers a second."""
        return self.events / self.seconds if self.seconds else 0.0

    def quantile(self, share: float) -> float:
        """The latency, in seconds, that so many of the answers were within."""
        return _quantile(self.latencies, share)

    def first_quantile(self, share: float) -> float:
        """In how many seconds so many of the answers had begun."""
        return _quantile(self.firsts, share)

    def take(self, answer: _Answer, asked_at: float) -> None:
        """Count an answer that is over now."""
        self.statuses[answer.status] += 1
        if answer.status != 200:
            return
        self.latencies.append(time.perf_counter() - asked_at)
        if answer.first_at is not None:
            self.firsts.append(answer.first_at - asked_at)
            self.events += answer.events


@dataclass
class _Answer:
    """``first_at`` is when a stream's first event was there; ``closes`` whether the connection ends with it."""

    status: int
    closes: bool
    first_at: float | None = None
    events: int = 0


def _quantile(seconds: list[float], share: float) -> float:
    if len(seconds) < 2:
        return seconds[0] if seconds else 0.0
    cuts = statistics.quantiles(seconds, n=1000, method="inclusive")
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
            answer = await _answer(reader)
            found.take(answer, begun)
            if answer.closes:
                writer.close()
                reader, writer = await asyncio.open_connection(host, port, limit=_LIMIT)
    except (OSError, asyncio.IncompleteReadError):
        found.statuses[0] += 1
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader) -> _Answer:
    """What is told of it. Its body is read, and looked at where it is a stream of events."""
    head = (await reader.readuntil(_HEAD_END)).lower()
    answer = _Answer(int(head[9:12]), b"\r\nconnection: close" in head)
    length = _header(head, b"content-length:")
    if length is not None:
        await reader.readexactly(int(length))
    elif (_header(head, b"content-type:") or b"").startswith(b"text/event-stream"):
        body = bytearray()
        async for chunk in _chunks(reader):
            answer.first_at = answer.first_at or time.perf_counter()
            body += chunk
        _count(answer, bytes(body))
    else:
        async for _ in _chunks(reader):
            pass
    return answer


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int(await reader.readuntil(b"\r\n"), 16):
        yield (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)


def _count(answer: _Answer, body: bytes) -> None:
    """The events of a stream, of which the last one may tell of an error."""
    events = [line[len(_DATA) :] for line in body.splitlines() if line.startswith(_DATA)]
    answer.events = len(events)
    if not events or msgspec.json.decode(events[-1], type=_Event).error is not None:
        answer.status = 0


class _Event(msgspec.Struct):
    error: Any = None


def _header(head: bytes, name: bytes) -> bytes | None:
    at = head.find(b"\r\n" + name)
    if at < 0:
        return None
    return head[at + len(name) + 2 : head.index(b"\r\n", at + 2)].strip()
