"""What is told about the deployment without running it."""

from __future__ import annotations

import contextlib
import time
from importlib import metadata
from itertools import chain

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from modeldeploy import __version__
from modeldeploy.web import swagger
from modeldeploy.web.answers import json_answer
from modeldeploy.web.shapes import Failure
from modeldeploy.worker import dialects
from modeldeploy.worker.http import openapi
from modeldeploy.worker.http.answers import Alive, Endpoint, Healthy, Info, NotHealthy
from modeldeploy.worker.http.operations import About, Operation, Schema, answer, errors
from modeldeploy.worker.http.routing import JSON, JsonRoute
from modeldeploy.worker.http.service import Service

_PACKAGES = ("transformers", "torch")


class Pages:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._state = service.state
        self._spec = service.state.spec

    @staticmethod
    def operations(about: About) -> list[Operation]:
        """What is documented of them."""
        of = about.schemas.of
        refused = {status: errors(of(Failure))[status] for status in ("401", "403", "406", "421")}
        health = {"200": answer("It is.", of(Healthy)), "503": answer("Not now.", of(NotHealthy))}
        pages: list[tuple[str, str, dict[str, Schema]]] = [
            ("/health", "Whether a prediction would be answered now.", health),
            ("/readyz", "The same.", health),
            ("/livez", "Whether the process lives.", {"200": answer("It does.", of(Alive))}),
            ("/info", "What is deployed here.", {"200": answer("This.", of(Info))}),
            ("/docs", "All of this, to read and to try.", {"200": _text("A page.", "text/html")}),
            (
                "/openapi.json",
                "The schema of all this.",
                {"200": answer("OpenAPI 3.1.", {"type": "object"})},
            ),
            ("/metrics", "Figures for Prometheus.", {"200": _text("Figures.", "text/plain")}),
        ]
        return [
            Operation("get", path, summary, {**answers, **refused})
            for path, summary, answers in pages
        ]

    def routes(self) -> list[Route]:
        return [
            JsonRoute("/health", self._health),
            JsonRoute("/readyz", self._health),
            JsonRoute("/livez", self._livez),
            JsonRoute("/info", self._info),
            JsonRoute("/openapi.json", self._openapi),
            Route("/metrics", self._metrics, methods=["GET"]),
            *swagger.routes(),
        ]

    async def _livez(self, request: Request) -> Response:
        return json_answer(Alive(deployment_id=self._spec.deployment))

    async def _health(self, request: Request) -> Response:
        now = self._state.now
        model_id, name = self._spec.model_id, self._spec.deployment
        if self._service.is_ready:
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
                runs=self._service.runs(),
                threads=self._state.threads,
                max_input_length=model.max_input_length if model else None,
                notes=model.notes if model else (),
                memory_bytes=self._state.memory(),
                reserved_bytes=sum(self._state.reserved().values()),
                limits=self._spec.limits,
                versions=_versions(),
                uptime_s=round(time.time() - self._state.started_at, 3),
                endpoints=self._endpoints(),
            )
        )

    def _endpoints(self) -> list[Endpoint]:
        return [
            Endpoint(
                method=one.method.upper(),
                path=one.path,
                description=one.summary,
                example=one.example,
            )
            for one in _operations(self._about())
        ]

    async def _metrics(self, request: Request) -> Response:
        return self._service.metrics.page()

    async def _openapi(self, request: Request) -> Response:
        about = self._about()
        title = f"{self._spec.deployment}: {self._spec.model_id}"
        raw = openapi.document(
            _operations(about), about.schemas.parts, title, keyed=bool(self._state.keys)
        )
        return Response(raw, media_type=JSON)

    def _about(self) -> About:
        adapter = self._service.adapter
        return About(
            task=self._service.task,
            deployment=self._spec.deployment,
            model_id=self._spec.model_id,
            version=self._spec.commit or "1",
            limits=self._spec.limits,
            conversations=adapter.info().conversations if adapter else True,
        )


def _operations(about: About) -> list[Operation]:
    spoken = [kind.operations(about) for kind in dialects.kinds().values()]
    return [*chain.from_iterable(spoken), *Pages.operations(about)]


def _text(description: str, media_type: str) -> Schema:
    return answer(description, {"type": "string"}, media_type)


def _versions() -> dict[str, str]:
    versions = {"modeldeploy": __version__}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions
