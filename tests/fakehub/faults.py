"""What can be made to go wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase


@dataclass
class Fault:
    """Befalls requests whose path matches ``pattern``, ``times`` times (None: always).

    ``status`` answers so instead (with ``headers``); ``truncate``, ``stall`` and ``reset`` act
    after so many bytes of a body (``stall`` sends no more and keeps the connection); ``rate`` is
    bytes a second; ``flip`` changes the byte at that offset of the file; ``silent`` answers
    nothing at all; ``ignore_range`` sends the whole file for a part; ``raw`` is written to the
    socket instead of an answer of HTTP, which then ends (b"": hung up on); ``redirect`` sends the
    client there; ``lie`` is added to every length that is told: of bodies, and of files in infos.
    """

    pattern: str
    times: int | None = None
    method: str | None = None
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    truncate: int | None = None
    stall: int | None = None
    reset: int | None = None
    rate: float | None = None
    flip: int | None = None
    silent: bool = False
    ignore_range: bool = False
    raw: bytes | None = None
    redirect: str | None = None
    lie: int = 0
    hits: int = 0

    def befalls(self, method: str, path: str) -> bool:
        """Whether it applies to this request, which then counts."""
        over = self.times is not None and self.hits >= self.times
        if over or self.method not in {None, method} or not fnmatchcase(path, self.pattern):
            return False
        self.hits += 1
        return True

    @property
    def cut(self) -> int | None:
        """Bytes of a body after which it acts."""
        return next((at for at in (self.truncate, self.stall, self.reset) if at is not None), None)
