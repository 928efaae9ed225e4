"""``GET /metrics``: every deployment's figures, those that the supervisor tells, and our own.

What workers answer is read with prometheus-client's own parser and written with its own writer.
Each sample says which ``deployment`` it is of.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from modeldeploy.gateway.visit import Visit
from modeldeploy.schema.deployment import Deployment
from modeldeploy.schema.states import State

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 600)
_PREFIX = "modeldeploy_"
_MOST_LABELS = 1024
_DEPLOYMENT = "deployment"


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
        whole.register(_Families(_merged(pages)))
        whole.register(_Families(_supervised(deployments)))
        return generate_latest(whole) + generate_latest(self._own)


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> list[Metric]:
        return self._families


def _merged(pages: dict[str, str]) -> Iterable[Metric]:
    """One family of each name, with the samples of all deployments."""
    found: dict[str, Metric] = {}
    for deployment, page in pages.items():
        for family in text_string_to_metric_families(page):
            whole = found.setdefault(
                family.name, Metric(family.name, family.documentation, family.type)
            )
            whole.samples += [
                sample._replace(labels={**sample.labels, _DEPLOYMENT: deployment})
                for sample in family.samples
            ]
    return found.values()


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
