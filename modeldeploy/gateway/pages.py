"""What the gateway answers by itself, without a token: documentation, figures, health, and the files
of the dashboard."""

from __future__ import annotations

import asyncio
import time
from typing import Literal

from msgspec import Struct
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.requests import Request
from starlette.responses import Response

from modeldeploy.gateway import dashboard
from modeldeploy.gateway.dashboard import Page
from modeldeploy.gateway.docs import Documents
from modeldeploy.gateway.metrics import Metrics
from modeldeploy.gateway.proxy import Proxy
from modeldeploy.gateway.roster import Roster, running
from modeldeploy.gateway.scraping import Scraper
from modeldeploy.schema.deployment import Deployment
from modeldeploy.web import swagger
from modeldeploy.web.answers import json_answer
from modeldeploy.web.shapes import Live, Model, Models, Ready, ServerInfo


class Health(Struct, frozen=True, kw_only=True):
    """``GET /health``. Without a supervisor what it left goes on being served."""

    status: Literal["healthy"] = "healthy"
    supervisor: Literal["connected", "unreachable"]
    deployments: int
    running: int


class Pages:
    """``GET`` of each path in :attr:`by_path`."""

    def __init__(self, roster: Roster, proxy: Proxy, metrics: Metrics) -> None:
        self._roster = roster
        self._scraper = Scraper(proxy)
        self._metrics = metrics
        self._documents = Documents(proxy.read)
        self._figures = b""
        self._figures_begun = 0.0
        self._reading_figures = asyncio.Lock()
        self.by_path: dict[str, Page] = {
            "/openapi.json": self._openapi,
            "/health": self._health,
            "/metrics": self._page_of_metrics,
            "/v1/models": self._models,
            "/docs/": _moved("../docs"),
            "/deployments": _moved("."),
            "/deployments/": _moved(".."),
            "/v2": self._server,
            "/v2/health/live": self._live,
            "/v2/health/ready": self._ready,
            **{route.path: route.endpoint for route in swagger.routes()},
            **dashboard.pages(),
        }

    async def _openapi(self, request: Request) -> Response:
        raw = await self._documents.merged(self._roster.all())
        return Response(raw, media_type="application/json", headers={"cache-control": "no-store"})

    async def _health(self, request: Request) -> Response:
        all_of_them = self._roster.all()
        return json_answer(
            Health(
                supervisor="connected" if self._roster.is_heard else "unreachable",
                deployments=len(all_of_them),
                running=len(running(all_of_them)),
            )
        )

    async def _page_of_metrics(self, request: Request) -> Response:
        """Who asks while somebody is answered shares the next page with all others that do."""
        came = time.monotonic()
        async with self._reading_figures:
            if self._figures_begun < came:
                self._figures_begun = time.monotonic()
                all_of_them = self._roster.all()
                pages = await self._scraper.pages(all_of_them)
                self._figures = self._metrics.page(all_of_them, pages)
        return Response(self._figures, media_type=CONTENT_TYPE_PLAIN_0_0_4)

    # Over all deployments, as OpenAI's and the Open Inference Protocol's clients ask for it.

    async def _models(self, request: Request) -> Response:
        seen = self._roster.seen_by(request.headers.get("origin"))
        return json_answer(Models(data=[model(one) for one in seen.all()]))

    async def _server(self, request: Request) -> Response:
        return json_answer(ServerInfo())

    async def _live(self, request: Request) -> Response:
        return json_answer(Live(live=True))

    async def _ready(self, request: Request) -> Response:
        is_one = bool(running(self._roster.all()))
        return json_answer(Ready(ready=is_one), 200 if is_one else 503)


def _moved(location: str) -> Page:
    async def page(request: Request) -> Response:
        return Response(status_code=307, headers={"location": location})

    return page


def model(deployment: Deployment) -> Model:
    return Model.of(deployment.name, deployment.model_id, deployment.created_at)
