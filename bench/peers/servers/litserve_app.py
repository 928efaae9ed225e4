"""LitServe: one worker a core, a thread each. Dynamic batching is off, as it is by default:
on a CPU padding costs more than it brings; ``BENCH_BATCH`` turns it on, in one worker.

LitServe reads the annotations of an API's methods as they stand: they must not be strings.
"""

import itertools
import os
from typing import Any

import litserve
from starlette.requests import Request

from bench.peers.servers import predictor


class Api(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self._predict = predictor.load()

    def decode_request(self, request: Request) -> list[str]:
        body: Any = request  # what comes is the request's JSON, decoded
        return list(body["texts"])

    def predict(self, texts: list[Any]) -> list[Any]:
        if not texts or isinstance(texts[0], str):
            return self._predict(texts)
        found = iter(self._predict(list(itertools.chain.from_iterable(texts))))
        return [list(itertools.islice(found, len(some))) for some in texts]

    def encode_response(self, output: list[Any]) -> Any:
        return output


def main() -> None:
    batch = int(os.environ.get("BENCH_BATCH", "1"))
    api = Api(max_batch_size=batch, batch_timeout=0.01 if batch > 1 else 0.0)
    workers = 1 if batch > 1 else os.cpu_count() or 1
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=workers, timeout=False)
    server.run(
        host="127.0.0.1",
        port=int(os.environ["BENCH_PORT"]),
        log_level="warning",
        generate_client_file=False,
    )


if __name__ == "__main__":
    main()
