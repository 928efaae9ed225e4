"""``GET /metrics``: what this worker did, in Prometheus' text format.

Times are seconds, as Prometheus' conventions have them; counts begin anew with each worker.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.responses import Response

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 600)
_KINDS = ("input", "output")
_ITEMS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
# Their creation's times are a third of all series, and nobody reads them.
disable_created_metrics()  # type: ignore[no-untyped-call]  # its own is not typed


class Metrics:
    """Counters and histograms of one worker. Observing is thread-safe and takes microseconds."""

    def __init__(self, deployment: str) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._deployment = deployment
        self._requests = Counter(
            "modeldeploy_requests",
            "Predictions answered, by HTTP status.",
            ["deployment", "status"],
            registry=self._registry,
        )
        self._by_status: dict[int, Counter] = {}
        self._errors = Counter(
            "modeldeploy_errors",
            "Predictions that were refused or failed, by the error's code.",
            ["deployment", "code"],
            registry=self._registry,
        )
        tokens = Counter(
            "modeldeploy_tokens",
            "Tokens that the model read (input) and wrote (output).",
            ["deployment", "kind"],
            registry=self._registry,
        )
        self._read, self._written = (tokens.labels(deployment, kind) for kind in _KINDS)
        self._request = self._histogram("request_seconds", "From the first byte in to the answer.")
        self._validation = self._histogram(
            "validation_seconds", "From the whole body to inputs for the model, or a refusal."
        )
        self._queue = self._histogram("queue_seconds", "Waiting for the model.")
        self._inference = self._histogram("inference_seconds", "In the model.")
        self._batch = self._histogram("batch_items", "Items in a call of the model.", _ITEMS)
        self._first_token = self._histogram(
            "time_to_first_token_seconds", "Of streams: from the first byte in to the first token."
        )
        self._next_token = self._histogram(
            "inter_token_seconds", "Of streams: from a token to the next of the same text."
        )

    def _histogram(
        self, name: str, help_text: str, buckets: tuple[float, ...] = _SECONDS
    ) -> Histogram:
        whole = Histogram(
            f"modeldeploy_{name}",
            help_text,
            ["deployment"],
            buckets=buckets,
            registry=self._registry,
        )
        return whole.labels(self._deployment)

    def gauge(self, name: str, help_text: str, value: Callable[[], float]) -> None:
        """One more figure, asked for at each scrape."""
        whole = Gauge(f"modeldeploy_{name}", help_text, ["deployment"], registry=self._registry)
        whole.labels(self._deployment).set_function(value)

    def answered(self, status: int, seconds: float, queued: float, computed: float) -> None:
        """One prediction is over; ``computed`` is 0 where the model was never asked."""
        if status not in self._by_status:
            self._by_status[status] = self._requests.labels(self._deployment, str(status))
        self._by_status[status].inc()
        self._request.observe(seconds)
        if computed:
            self._queue.observe(queued)
            self._inference.observe(computed)

    def validated(self, seconds: float) -> None:
        """A body was made into inputs, or refused."""
        self._validation.observe(seconds)

    def failed(self, code: str) -> None:
        """A prediction was answered with this error."""
        self._errors.labels(self._deployment, code).inc()

    def tokens(self, read: int, written: int) -> None:
        """The model has read and written so many."""
        self._read.inc(read)
        self._written.inc(written)

    def stream(self, begun: float) -> Callable[[Any], None]:
        """To be told of each piece of an answer that is streamed, which is a token of the text
        ``index``; ``begun`` is when its request came (``time.monotonic``)."""
        latest: dict[int, float] = {}

        def told(piece: Any) -> None:
            now, text = time.monotonic(), piece.index
            if not latest:
                self._first_token.observe(now - begun)
            elif text in latest:
                self._next_token.observe(now - latest[text])
            latest[text] = now
            self._written.inc()

        return told

    def batch(self, items: int) -> None:
        """One call of the model is made, with so many items."""
        self._batch.observe(items)

    def page(self) -> Response:
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)
