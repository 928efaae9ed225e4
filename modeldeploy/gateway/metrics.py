"""``GET /metrics``: every deployment's figures, those that the supervisor tells, and our own.

What workers answer is taken as it is written, line by line, and not parsed: it is much, and the loop that
does it has everybody's requests to pass on. Each sample says which ``deployment`` it is of.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from functools import lru_cache

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from modeldeploy.gateway.visit import Visit
from modeldeploy.schema.deployment import Deployment
from modeldeploy.schema.states import State

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 600)
_PREFIX = "modeldeploy_"
_MOST_LABELS = 1024
_DEPLOYMENT = "deployment"
# Their creation's times are a third of all series, and nobody reads them.
disable_created_metrics()  # type: ignore[no-untyped-call]  # its own is not typed


class Metrics:
    """The gateway's own figures, and the page that has everybody's."""

    def __init__(self) -> None:
        self._own = CollectorRegistry()
        self._requests = Counter(
            f"{_PREFIX}gateway_requests",
            "Requests at the gateway, by route and HTTP status.",
            [_DEPLOYMENT, "route", "status"],
            registry=self._own,
        )
        self._upstream = Histogram(
            f"{_PREFIX}gateway_upstream_seconds",
            "From passing a request on to the head of the deployment's answer.",
            [_DEPLOYMENT],
            buckets=_SECONDS,
            registry=self._own,
        )
        self._request = Histogram(
            f"{_PREFIX}gateway_request_seconds",
            "From a request's head to the end of its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=self._own,
        )
        # What is counted of a request costs less than finding where, by its labels.
        self._requests_of = lru_cache(_MOST_LABELS)(self._requests.labels)
        self._upstream_of = lru_cache(_MOST_LABELS)(self._upstream.labels)
        self._request_of = lru_cache(_MOST_LABELS)(self._request.labels)
        self.open_streams = Gauge(
            f"{_PREFIX}gateway_open_streams",
            "Answers that are passed on piece by piece now.",
            registry=self._own,
        )

    def upstream(self, visit: Visit, seconds: float) -> None:
        """A deployment has begun to answer."""
        self._upstream_of(visit.deployment).observe(seconds)

    def answered(self, visit: Visit, status: int) -> None:
        """A request is over."""
        self._requests_of(visit.deployment or "", visit.route, str(status)).inc()
        self._request_of(visit.route).observe(time.monotonic() - visit.started)

    def page(self, deployments: list[Deployment], pages: dict[str, str]) -> bytes:
        """``pages`` are what the workers answer, by deployment."""
        whole = CollectorRegistry()
        whole.register(_Families(_supervised(deployments)))
        return _merged(pages).encode() + generate_latest(whole) + generate_latest(self._own)


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> list[Metric]:
        return self._families


def _merged(pages: dict[str, str]) -> str:
    """One family of each name, with the samples of all deployments (Prometheus' text format 0.0.4)."""
    families: dict[str, tuple[dict[str, str], list[str]]] = {}
    for deployment, page in pages.items():
        label = f'{_DEPLOYMENT}="{deployment}"'
        samples: list[str] = []
        for line in page.split("\n"):
            if line.startswith("# "):
                _, kind, name, *_ = line.split(" ", 3)
                head, samples = families.setdefault(name, ({}, []))
                head.setdefault(kind, line)
            elif line:
                samples.append(line if label in line else _labelled(line, label))
    return "".join(
        f"{line}\n" for head, samples in families.values() for line in (*head.values(), *samples)
    )


def _labelled(sample: str, label: str) -> str:
    name, brace, rest = sample.partition("{")
    if brace:
        return f"{name}{{{label},{rest}"
    name, _, value = sample.partition(" ")
    return f"{name}{{{label}}} {value}"


def _supervised(deployments: list[Deployment]) -> Iterator[Metric]:
    """What only the supervisor knows."""
    restarts = CounterMetricFamily(
        f"{_PREFIX}restarts", "Times that a worker was replaced.", labels=[_DEPLOYMENT]
    )
    memory = GaugeMetricFamily(
        f"{_PREFIX}memory_bytes", "Resident memory of its worker.", labels=[_DEPLOYMENT]
    )
    state = GaugeMetricFamily(
        f"{_PREFIX}state", "1 for the state that it is in.", labels=[_DEPLOYMENT, "state"]
    )
    info = GaugeMetricFamily(
        f"{_PREFIX}deployment",
        "What is deployed; always 1.",
        labels=[_DEPLOYMENT, "model_id", "task", "device"],
    )
    for one in deployments:
        restarts.add_metric([one.name], one.restarts)
        memory.add_metric([one.name], one.memory_bytes)
        info.add_metric([one.name, one.model_id, one.task or "", one.device], 1)
        for each in State:
            state.add_metric([one.name, each.value], one.state is each)
    yield from (restarts, memory, state, info)
