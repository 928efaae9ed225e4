"""Ray Serve: one replica with all cores and ``@serve.batch``."""

from __future__ import annotations

import itertools
import os
import signal
from typing import Any

import ray
from ray import serve
from starlette.requests import Request

from bench.peers.servers import predictor

_CORES = os.cpu_count() or 1


@serve.deployment(max_ongoing_requests=256, ray_actor_options={"num_cpus": _CORES})
class Model:
    def __init__(self) -> None:
        self._predict = predictor.load()

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0.01)
    async def batch(self, requests: list[list[str]]) -> list[list[Any]]:
        found = iter(self._predict(list(itertools.chain.from_iterable(requests))))
        return [list(itertools.islice(found, len(texts))) for texts in requests]

    async def __call__(self, request: Request) -> Any:
        return await self.batch((await request.json())["texts"])


def main() -> None:
    ray.init(include_dashboard=False, num_cpus=_CORES, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["BENCH_PORT"])})
    app = Model.bind()  # type: ignore[attr-defined]  # what the decorator makes has it
    serve.run(app, route_prefix="/predict")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
