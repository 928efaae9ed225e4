"""A Starlette route, by itself (``bare``) or with a pipeline in Starlette's thread pool (``naive``):
what one writes without a serving framework. ``python -m bench.peers.servers.starlette_app bare|naive``
"""

from __future__ import annotations

import os
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from bench.peers.servers import predictor


def bare() -> Starlette:
    async def answer(request: Request) -> JSONResponse:
        return JSONResponse([{"text": text} for text in (await request.json())["texts"]])

    return Starlette(routes=[Route("/predict", answer, methods=["POST"])])


def naive() -> Starlette:
    predict = predictor.load()

    async def answer(request: Request) -> JSONResponse:
        texts = (await request.json())["texts"]
        return JSONResponse(await run_in_threadpool(predict, texts))

    return Starlette(routes=[Route("/predict", answer, methods=["POST"])])


if __name__ == "__main__":
    app = {"bare": bare, "naive": naive}[sys.argv[1]]()
    uvicorn.run(app, port=int(os.environ["BENCH_PORT"]), log_level="warning")
