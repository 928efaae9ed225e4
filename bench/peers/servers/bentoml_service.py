"""BentoML: one service with an adaptively batched API."""

from __future__ import annotations

from typing import Any

import bentoml

from bench.peers.servers import predictor


@bentoml.service(traffic={"timeout": 600})
class Service:
    def __init__(self) -> None:
        self._predict = predictor.load()

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=60_000)
    def predict(self, texts: list[str]) -> list[Any]:
        return self._predict(texts)
