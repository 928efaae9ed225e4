"""What is documented of OpenAI's routes: their types, and an example of each."""

from __future__ import annotations

from typing import Any

from modeldeploy.web.shapes import ErrorBody, Model, Models
from modeldeploy.worker.dialects.openai_audio import Transcriptions
from modeldeploy.worker.dialects.openai_chat import Chat, Completions
from modeldeploy.worker.dialects.openai_common import Handler
from modeldeploy.worker.dialects.openai_responses import Responses, ResponsesRequest
from modeldeploy.worker.dialects.openai_types import (
    ChatRequest,
    Completion,
    CompletionRequest,
    EmbeddingRequest,
    Embeddings,
)
from modeldeploy.worker.dialects.openai_vectors import Vectors
from modeldeploy.worker.http.operations import (
    About,
    Operation,
    Schema,
    answer,
    bodies,
    errors,
    events,
)
from modeldeploy.worker.http.routing import EVENTS, FORM

_Documented = tuple[type[Handler], str, Any, Any, dict[str, Any]]
_SAY = "Say hello."
_JSON_ROUTES: tuple[_Documented, ...] = (
    (
        Chat,
        "The next turn of a conversation.",
        ChatRequest,
        Completion,
        {"messages": [{"role": "user", "content": _SAY}], "max_tokens": 16},
    ),
    (
        Completions,
        "Text that goes on from a prompt.",
        CompletionRequest,
        Completion,
        {"prompt": "Once upon a time", "max_tokens": 16},
    ),
    (
        Responses,
        "A response to a text or a conversation; nothing is stored.",
        ResponsesRequest,
        dict[str, Any],
        {"input": _SAY, "max_output_tokens": 16},
    ),
    (Vectors, "Vectors of texts.", EmbeddingRequest, Embeddings, {"input": ["one", "two"]}),
)


def operations(about: About) -> list[Operation]:
    """Those that fit the task, and the list of models."""
    of, abilities = about.schemas.of, about.task.abilities
    failures = errors(of(ErrorBody))
    found = [
        _posted(about, one, failures)
        for one in _JSON_ROUTES
        if one[0].ability in abilities and (about.conversations or not one[0].converses)
    ]
    if Transcriptions.ability in abilities:
        text: Schema = {"type": "object", "properties": {"text": {"type": "string"}}}
        made = {"200": answer("What was said.", text), **failures}
        form = {FORM: {"schema": _form(about.deployment)}}
        found.append(Operation("post", Transcriptions.path, "What a sound says.", made, form))
    refused = {status: failures[status] for status in ("403", "406", "421")}
    listed = {"200": answer("This one.", of(Models)), **refused}
    model = {"200": answer("This.", of(Model)), **refused}
    return [
        *found,
        Operation("get", "/v1/models", "The models: one.", listed),
        Operation("get", f"/v1/models/{about.deployment}", "The model.", model),
    ]


def _form(deployment: str) -> Schema:
    """With a default wherever Swagger UI would send the word "string" else; it leaves out empty ones."""
    return {
        "type": "object",
        "properties": {
            "file": {"type": "string", "format": "binary"},
            "model": {"type": "string", "default": deployment},
            "language": {"type": "string", "default": ""},
            "response_format": {"enum": ["json", "text"]},
            "temperature": {"const": 0},
        },
        "required": ["file", "model"],
        "additionalProperties": False,
    }


def _posted(about: About, route: _Documented, failures: dict[str, Schema]) -> Operation:
    kind, summary, request, response, example = route
    made = answer("The whole answer.", about.schemas.of(response))
    if EVENTS in kind.also:
        made["content"][EVENTS] = events(about.schemas.of(response))
    body = bodies(about.schemas.of(request), {"model": about.deployment, **example})
    return Operation("post", kind.path, summary, {"200": made, **failures}, body)
