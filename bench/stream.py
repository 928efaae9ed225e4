"""A client of a streaming chat route, with little overhead: what came, and when."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import msgspec

_DATA = b"data:"


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []


_decoder = msgspec.json.Decoder(_Chunk)


@dataclass
class Streamed:
    """``begun`` and the time of each piece are of ``time.perf_counter``."""

    begun: float
    status: int = 0
    pieces: list[tuple[float, str]] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(piece for _, piece in self.pieces)

    @property
    def first(self) -> float:
        """Seconds to the first piece."""
        return self.pieces[0][0] - self.begun


async def stream(port: int, path: str, body: bytes) -> Streamed:
    """One request on a connection of its own; ends with the answer. ``OSError`` where it breaks."""
    found = Streamed(time.perf_counter())
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = (
        f"POST {path} HTTP/1.1\r\nhost: localhost:{port}\r\nconnection: close\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    try:
        writer.write(head.encode("ascii") + body)
        found.status = int((await reader.readline()).split()[1])
        while line := await reader.readline():
            if line.startswith(_DATA) and line.find(b"[DONE]") < 0:
                for choice in _decoder.decode(line[len(_DATA) :]).choices:
                    if choice.delta.content:
                        found.pieces.append((time.perf_counter(), choice.delta.content))
    finally:
        writer.close()
    return found
