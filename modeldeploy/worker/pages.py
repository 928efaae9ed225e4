"""What is told about the deployment without running it."""

from __future__ import annotations

import contextlib
import time
from importlib import metadata

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from modeldeploy import __version__
from modeldeploy.worker import openapi, swagger
from modeldeploy.worker.answers import Endpoint, Healthy, Info, NotHealthy, json_answer
from modeldeploy.worker.service import Service

_PACKAGES = ("transformers", "torch")


class Pages:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._state = service.state
        self._spec = service.state.spec

    def routes(self) -> list[Route]:
        return [
            Route("/health", self._health, methods=["GET"]),
            Route("/readyz", self._health, methods=["GET"]),
            Route("/livez", self._livez, methods=["GET"]),
            Route("/info", self._info, methods=["GET"]),
            Route("/openapi.json", self._openapi, methods=["GET"]),
            Route("/metrics", self._metrics, methods=["GET"]),
            *swagger.routes(),
        ]

    async def _livez(self, request: Request) -> Response:
        return json_answer({"status": "alive", "deployment_id": self._spec.deployment})

    async def _health(self, request: Request) -> Response:
        now, batcher = self._state.now, self._service.batcher
        model_id, name = self._spec.model_id, self._spec.deployment
        if now.phase == "ready" and batcher and batcher.alive:
            return json_answer(Healthy(model_id=model_id, deployment_id=name))
        answer = json_answer(
            NotHealthy(
                status=now.phase if now.phase in {"loading", "draining"} else "unhealthy",
                stage=now.stage,
                percent=now.percent,
                message=now.message,
                model_id=model_id,
                deployment_id=name,
            ),
            503,
        )
        if now.phase in {"loading", "draining"}:
            answer.headers["retry-after"] = "1"
        return answer

    async def _info(self, request: Request) -> Response:
        task, adapter = self._service.task, self._service.adapter
        model = adapter.info() if adapter else None
        return json_answer(
            Info(
                model_id=self._spec.model_id,
                deployment_id=self._spec.deployment,
                revision=self._spec.commit,
                task=task.name,
                model_type=task.model_type,
                dtype=model.dtype if model else None,
                device=model.device if model else None,
                parameters=model.parameters if model else None,
                max_input_length=model.max_input_length if model else None,
                memory_bytes=self._state.memory(),
                limits=self._spec.limits,
                versions=_versions(),
                uptime_s=round(time.time() - self._state.started_at, 3),
                endpoints=self._endpoints(),
            )
        )

    def _endpoints(self) -> list[Endpoint]:
        example = self._service.task.example
        return [
            Endpoint(method="POST", path="/predict", description="a prediction", example=example),
            Endpoint(method="GET", path="/health", description="200 when it would be answered now"),
            Endpoint(method="GET", path="/info", description="what is deployed here"),
            Endpoint(method="GET", path="/docs", description="all of this, to read and to try"),
            Endpoint(method="GET", path="/openapi.json", description="the schema of all this"),
            Endpoint(method="GET", path="/metrics", description="figures for Prometheus"),
        ]

    async def _metrics(self, request: Request) -> Response:
        return self._service.metrics.page()

    async def _openapi(self, request: Request) -> Response:
        body = openapi.document(
            self._service.task, self._spec.limits, f"{self._spec.deployment}: {self._spec.model_id}"
        )
        return Response(body, media_type="application/json")


def _versions() -> dict[str, str]:
    versions = {"modeldeploy": __version__}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions
