"""OpenAI's API under ``/v1``: which routes there are, whose model it is, and how errors look.

What a route does stands beside: ``openai_chat`` (chat and completions), ``openai_responses``,
``openai_vectors`` (embeddings), ``openai_audio``. Where a route does not fit the deployment's task
it answers 404, in OpenAI's shape like every error here.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from modeldeploy.errors import ModelDeployError, NotFound
from modeldeploy.web.answers import json_answer
from modeldeploy.web.shapes import Model, Models, openai_answer
from modeldeploy.worker.dialects import openai_operations
from modeldeploy.worker.dialects.openai_audio import Transcriptions
from modeldeploy.worker.dialects.openai_chat import Chat, Completions
from modeldeploy.worker.dialects.openai_responses import Responses
from modeldeploy.worker.dialects.openai_vectors import Vectors
from modeldeploy.worker.http.operations import About, Operation
from modeldeploy.worker.http.routing import JsonRoute
from modeldeploy.worker.http.service import Service

_HANDLERS = (Chat, Completions, Responses, Vectors, Transcriptions)


class OpenAI:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._spec = service.state.spec

    def routes(self) -> list[Route]:
        task = self._service.task
        handlers = [kind(self._service) for kind in _HANDLERS if kind.ability in task.abilities]
        return [
            JsonRoute("/v1/models", self._models),
            JsonRoute("/v1/models/{model:path}", self._model),
            *(JsonRoute(one.path, one.answer, "POST", one.also) for one in handlers),
        ]

    @staticmethod
    def operations(about: About) -> list[Operation]:
        return openai_operations.operations(about)

    def speaks(self, path: str) -> bool:
        return path == "/v1" or path.startswith("/v1/")

    def error(self, error: ModelDeployError, request_id: str) -> Response:
        return openai_answer(error)

    def _entry(self) -> Model:
        spec = self._spec
        return Model.of(spec.deployment, spec.model_id, self._service.state.started_at)

    async def _models(self, request: Request) -> Response:
        return json_answer(Models(data=[self._entry()]))

    async def _model(self, request: Request) -> Response:
        named = request.path_params["model"]
        if named not in {self._spec.deployment, self._spec.model_id}:
            raise NotFound(
                f"there is no model {named[:100]!r} here",
                hint=f"this deployment is {self._spec.deployment}",
            )
        return json_answer(self._entry())
