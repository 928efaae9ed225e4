"""The figures of all deployments on one page, each with its name."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from modeldeploy.schema import tasks
from modeldeploy.schema.states import State
from modeldeploy.worker.http.metrics import Metrics as WorkerMetrics
from modeldeploy.worker.http.service import Service
from modeldeploy.worker.state import WorkerState
from tests.gateway.door import Door, door, tell
from tests.worker.specs import worker_spec

_ENDS = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
Samples = dict[tuple[str, ...], float]


def counting(name: str, requests: int) -> ASGIApp:
    """A deployment whose worker has answered so many."""
    metrics = WorkerMetrics(name)
    for _ in range(requests):
        metrics.answered(200, 0.1, 0.0, 0.05)

    async def page(request: Request) -> Response:
        return metrics.page()

    async def other(request: Request) -> Response:
        return PlainTextResponse("so", 418)

    return Starlette(routes=[Route("/metrics", page), Route("/predict", other)])


async def _samples(one: Door) -> Samples:
    """By the sample's name and the values of its labels, in the order of their names."""
    status, headers, raw = await one.ask("GET", "/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    families = list(text_string_to_metric_families(raw.decode()))
    names = [family.name for family in families]
    assert len(names) == len(set(names)), "each family once"
    return {
        (sample.name, *(sample.labels[label] for label in sorted(sample.labels))): sample.value
        for family in families
        for sample in family.samples
    }


def test_every_deployments_figures_are_there_under_its_name(tmp_path: Path) -> None:
    async def story() -> None:
        async with door(tmp_path, {"a": counting("a", 2), "b": counting("b", 3)}) as one:
            one.change("b", restarts=4, memory_bytes=5)
            found = await _samples(one)
        assert found["modeldeploy_requests_total", "a", "200"] == 2
        assert found["modeldeploy_requests_total", "b", "200"] == 3
        assert found["modeldeploy_request_seconds_count", "b"] == 3
        assert found["modeldeploy_request_seconds_bucket", "b", "0.1"] == 3
        assert found["process_resident_memory_bytes", "a"] > 0
        assert found["modeldeploy_restarts_total", "b"] == 4
        assert found["modeldeploy_memory_bytes", "b"] == 5
        assert found["modeldeploy_state", "a", "RUNNING"] == 1
        assert found["modeldeploy_state", "a", "STOPPED"] == 0

    tell(story)


def test_who_asks_at_once_shares_a_page_that_is_no_older_than_the_question(tmp_path: Path) -> None:
    async def story() -> None:
        asked = 0
        reads, goes_on = asyncio.Event(), asyncio.Event()
        counted = counting("a", 2)

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal asked
            asked += 1
            reads.set()
            await goes_on.wait()
            await counted(scope, receive, send)

        async with door(tmp_path, {"a": slow}) as one:
            first = asyncio.ensure_future(_samples(one))
            await reads.wait()
            others = [asyncio.ensure_future(_samples(one)) for _ in range(5)]
            await asyncio.gather(*(one.ask("GET", "/health") for _ in range(20)))  # they are there
            goes_on.set()
            await asyncio.gather(first, *others)
            assert asked == 2, "one more for all that asked while the first was read"

    tell(story)


def test_no_series_tells_when_a_counter_was_made(tmp_path: Path) -> None:
    async def story() -> None:
        async with door(tmp_path, {"a": counting("a", 2)}) as one:
            assert not [name for name, *_ in await _samples(one) if name.endswith("_created")]

    tell(story)


def test_one_that_tells_nothing_keeps_nobody_from_telling(tmp_path: Path) -> None:
    async def story() -> None:
        async with door(tmp_path, {"a": counting("a", 2), "b": counting("b", 3)}) as one:
            one.change("b", port=1)
            found = await _samples(one)
            assert ("modeldeploy_requests_total", "b", "200") not in found
            assert found["modeldeploy_state", "b", "RUNNING"] == 1
            one.change("a", state=State.STOPPED)
            assert ("modeldeploy_requests_total", "a", "200") not in await _samples(one)

    tell(story)


def test_the_gateway_counts_its_own(tmp_path: Path) -> None:
    async def story() -> None:
        async with door(tmp_path, {"a": counting("a", 0)}) as one:
            for _ in range(2):
                await one.ask("GET", "/deployments/a/predict")
            await one.ask("GET", "/deployments/c/predict")
            await one.ask("GET", "/api/v1/status")
            found = await _samples(one)
        name = "modeldeploy_gateway_requests_total"
        assert found[name, "a", "deployments", "418"] == 2
        assert found[name, "", "deployments", "404"] == 1
        assert found[name, "", "api", "401"] == 1
        assert found["modeldeploy_gateway_upstream_seconds_count", "a"] == 2
        assert found["modeldeploy_gateway_open_streams",] == 0

    tell(story)


def test_every_figure_that_the_grafana_dashboard_names_is_there(tmp_path: Path) -> None:
    dashboard = (Path(__file__).parents[2] / "examples" / "grafana-dashboard.json").read_text()
    exprs = [target["expr"] for one in json.loads(dashboard)["panels"] for target in one["targets"]]
    named = {name for expr in exprs for name in re.findall(r"\b(?:modeldeploy|process)_\w+", expr)}
    queried = re.findall(r"label_values\((\w+),", dashboard)
    assert len(named) > 20

    async def story() -> None:
        service = Service(WorkerState(worker_spec(tmp_path, "echo", 1)), tasks.TASKS["echo"])
        service.metrics.answered(200, 0.1, 0.0, 0.05)
        app = Starlette(routes=[Route("/metrics", lambda request: service.metrics.page())])
        async with door(tmp_path, {"demo": app}) as one:
            page = (await one.ask("GET", "/metrics"))[2].decode()
        service.close()
        there = {
            f"{family.name}{end}"
            for family in text_string_to_metric_families(page)
            for end in _ENDS[family.type]
        }
        assert {*named, *queried} <= there, {*named, *queried} - there

    tell(story)
