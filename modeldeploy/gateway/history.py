"""What each deployment did in the last quarter of an hour: the dashboard's plots begin with it.

A reading every few seconds, and more often while somebody looks: whoever asks for what is new has it read.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import defaultdict, deque
from collections.abc import Callable

from msgspec import Struct

from modeldeploy.gateway.roster import Roster
from modeldeploy.gateway.scraping import Scraper
from modeldeploy.schema.deployment import Deployment

log = logging.getLogger(__name__)

KEPT_SECONDS = 900.0
_EVERY_SECONDS = 5.0
_FRESH_SECONDS = 1.5
# Not prometheus-client's parser, which takes ten times as long: it is read all the time.
_SAMPLE = re.compile(
    r"^modeldeploy_(requests_total|request_seconds_count|request_seconds_sum|queue_depth|tokens_total)"
    r"(\{[^}]*\}) (\S+)$",
    re.MULTILINE,
)
_COUNTERS = ("requests_total", "request_seconds_count", "request_seconds_sum", "tokens_total")
_WRITTEN = 'kind="output"'

_Figures = dict[str, float]


class Point(Struct, frozen=True):
    """What a deployment did up to ``at`` (Unix seconds), since the point before: requests and written
    tokens by second, the mean latency in seconds, null where nothing was answered. And what waited
    then, and its memory in bytes."""

    at: float
    throughput: float
    latency: float | None
    tokens: float
    queue: float
    memory: int


class History:
    """Made in the event loop; the points of at most ``KEPT_SECONDS``."""

    def __init__(
        self, roster: Roster, scraper: Scraper, clock: Callable[[], float] = time.time
    ) -> None:
        self._roster = roster
        self._scraper = scraper
        self._clock = clock
        self._points: dict[str, deque[Point]] = defaultdict(deque)
        self._latest: dict[str, tuple[float, _Figures]] = {}
        self._read_at = 0.0
        self._reading = asyncio.Lock()

    async def keep(self) -> None:
        """Read on for ever."""
        while True:
            try:
                await self._read(_EVERY_SECONDS)
            except Exception:  # what a page says is no reason to stop
                log.exception("the figures of the deployments could not be read")
            await asyncio.sleep(_EVERY_SECONDS)

    async def since(self, at: float) -> dict[str, list[Point]]:
        """The points past ``at`` of every deployment, the oldest first."""
        await self._read(_FRESH_SECONDS)
        return {
            name: [point for point in points if point.at > at]
            for name, points in self._points.items()
        }

    async def _read(self, old_seconds: float) -> None:
        """Unless the latest reading is younger than that."""
        async with self._reading:
            if 0 <= self._clock() - self._read_at < old_seconds:  # a clock may be set back
                return
            deployments = self._roster.all()
            pages = await self._scraper.pages(deployments)
            now = self._read_at = self._clock()
            for one in deployments:
                if page := pages.get(one.name):
                    self._take(one, now, figures_of(page))
            self._forget(now, {one.name for one in deployments})

    def _take(self, deployment: Deployment, now: float, figures: _Figures) -> None:
        before = self._latest.get(deployment.name)
        self._latest[deployment.name] = now, figures
        if before and before[0] < now:
            point = _between(before[1], figures, before[0], now, deployment.memory_bytes)
            self._points[deployment.name].append(point)

    def _forget(self, now: float, names: set[str]) -> None:
        for name in self._latest.keys() - names:
            del self._latest[name]
            self._points.pop(name, None)
        for points in self._points.values():
            while points and points[0].at < now - KEPT_SECONDS:
                points.popleft()


def figures_of(page: str) -> _Figures:
    """Sums over the labels of a page of metrics; of tokens those that were written."""
    found: _Figures = defaultdict(float)
    for name, labels, value in _SAMPLE.findall(page):
        if name != "tokens_total" or _WRITTEN in labels:
            found[name] += float(value)
    return found


def _between(before: _Figures, after: _Figures, since: float, now: float, memory: int) -> Point:
    counts_anew = any(after[name] < before[name] for name in _COUNTERS)  # another worker

    def more(name: str) -> float:
        return after[name] - (0.0 if counts_anew else before[name])

    answered = more("request_seconds_count")
    return Point(
        at=now,
        throughput=more("requests_total") / (now - since),
        latency=more("request_seconds_sum") / answered if answered else None,
        tokens=more("tokens_total") / (now - since),
        queue=after["queue_depth"],
        memory=memory,
    )
