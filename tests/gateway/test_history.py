"""The figures that the dashboard's plots begin with."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from modeldeploy.client import Client
from modeldeploy.gateway.history import KEPT_SECONDS, History, figures_of
from modeldeploy.gateway.roster import Roster
from modeldeploy.schema.control import Fleet
from modeldeploy.schema.deployment import Deployment
from modeldeploy.worker.http.metrics import Metrics
from tests.cli.stories import deployment
from tests.gateway.door import TOKEN, door, tell


class Scraped:
    """Stands for the deployments' pages."""

    def __init__(self) -> None:
        self.pages_: dict[str, str] = {}
        self.times = 0

    async def pages(self, deployments: Iterable[Deployment]) -> dict[str, str]:
        self.times += 1
        await asyncio.sleep(0)
        return self.pages_

    def tell(self, name: str, **figures: float) -> None:
        self.pages_[name] = "".join(
            f'modeldeploy_{figure}{{deployment="{name}"}} {value}\n'
            for figure, value in figures.items()
        )


class Told:
    """A history, and what it is made of."""

    def __init__(self, folder: Path) -> None:
        self.now = 1000.0
        self.scraped = Scraped()
        self.roster = Roster(Client(folder / "none.sock"))
        self.history = History(self.roster, self.scraped, lambda: self.now)  # type: ignore[arg-type]  # a fake

    def there_are(self, *names: str) -> None:
        self.roster.take(Fleet(deployments=[deployment(name, f"org/{name}") for name in names]))


def test_points_tell_what_happened_between_two_readings(tmp_path: Path) -> None:
    async def story() -> None:
        told = Told(tmp_path)
        told.there_are("a")
        told.scraped.tell("a", requests_total=10, request_seconds_count=10, request_seconds_sum=1)
        assert await told.history.since(0) == {}
        told.now += 4
        told.scraped.tell(
            "a", requests_total=18, request_seconds_count=18, request_seconds_sum=3, queue_depth=2
        )
        (point,) = (await told.history.since(0))["a"]
        assert (point.at, point.throughput, point.latency, point.queue) == (1004, 2, 0.25, 2)
        told.now += 2
        assert (await told.history.since(0))["a"][1].latency is None
        told.now += 2  # another worker counts anew
        told.scraped.tell("a", requests_total=6, request_seconds_count=6, request_seconds_sum=3)
        (latest,) = (await told.history.since(1006))["a"]
        assert (latest.throughput, latest.latency) == (3, 0.5)

    tell(story)


def test_it_is_bounded_and_forgets_what_is_gone(tmp_path: Path) -> None:
    async def story() -> None:
        told = Told(tmp_path)
        told.there_are("a", "b")
        for number in range(400):
            told.scraped.tell("a", requests_total=number)
            told.scraped.tell("b", requests_total=number)
            told.now += 5
            await told.history.since(0)
        points = (await told.history.since(0))["a"]
        assert told.now - points[0].at <= KEPT_SECONDS
        assert len(points) == KEPT_SECONDS / 5 + 1
        told.there_are("b")
        told.now += 5
        assert list(await told.history.since(0)) == ["b"]

    tell(story)


def test_however_many_look_it_is_read_once(tmp_path: Path) -> None:
    async def story() -> None:
        told = Told(tmp_path)
        told.there_are("a")
        told.scraped.tell("a", requests_total=1)
        await asyncio.gather(*(told.history.since(0) for _ in range(9)))
        assert told.scraped.times == 1

    tell(story)


def test_a_clock_that_is_set_back_holds_up_no_reading(tmp_path: Path) -> None:
    async def story() -> None:
        told = Told(tmp_path)
        await told.history.since(0)
        told.now -= 600
        await told.history.since(0)
        assert told.scraped.times == 2

    tell(story)


def test_a_reading_that_fails_is_not_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        told = Told(tmp_path)
        monkeypatch.setattr("modeldeploy.gateway.history._EVERY_SECONDS", 0.0)
        told.there_are("a")
        told.scraped.pages_["a"] = 'modeldeploy_requests_total{deployment="a"} nonsense\n'
        keeping = asyncio.ensure_future(told.history.keep())
        while told.scraped.times < 3:
            await asyncio.sleep(0)
        keeping.cancel()

    tell(story)


def test_it_reads_what_workers_write() -> None:
    metrics = Metrics("a")
    metrics.gauge("queue_depth", "", lambda: 3)
    metrics.answered(200, 0.5, 0.1, 0.2)
    metrics.answered(422, 1.0, 0.0, 0.0)
    metrics.tokens(5, 7)
    assert figures_of(metrics.page().body.decode()) == {  # type: ignore[union-attr]
        "requests_total": 2,
        "request_seconds_count": 2,
        "request_seconds_sum": 1.5,
        "queue_depth": 3,
        "tokens_total": 7,
    }


def test_only_who_has_the_token_sees_it(tmp_path: Path) -> None:
    async def figures(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        page = b'modeldeploy_requests_total{deployment="a"} 1\n'
        await send({"type": "http.response.body", "body": page})

    async def story() -> None:
        async with door(tmp_path, {"a": figures}) as one:
            token = {"authorization": f"Bearer {TOKEN}"}
            assert (await one.ask("GET", "/api/figures"))[0] == 401
            status, _, raw = await one.ask("GET", "/api/figures?since=0", headers=token)
            assert (status, json.loads(raw)) == (200, {})  # a point is between two readings
            assert (await one.ask("GET", "/api/figures?since=x", headers=token))[0] == 422

    tell(story)
