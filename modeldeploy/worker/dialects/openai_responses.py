"""``/v1/responses``: text in, text out, whole and streamed. Nothing is stored."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from starlette.responses import Response

from modeldeploy.errors import InvalidRequest, ModelDeployError
from modeldeploy.schema.tasks.generation import Finish, Temperature, Tokens, TopP
from modeldeploy.web.answers import json_answer
from modeldeploy.web.shapes import error_body
from modeldeploy.worker.dialects.openai_chat import Chats
from modeldeploy.worker.dialects.openai_common import (
    Handler,
    in_terms_of,
    new_id,
    whole_window,
)
from modeldeploy.worker.http.exchange import Exchange
from modeldeploy.worker.http.routing import EVENTS
from modeldeploy.worker.http.sse import DONE, EventStream, event
from modeldeploy.worker.http.streams import Stream


class InputPart(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    type: Literal["input_text", "output_text"]
    text: str
    annotations: list[Any] = []


class InputMessage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[InputPart]
    type: Literal["message"] = "message"
    id: str | None = None
    status: str | None = None


class ResponsesRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``store`` may be false only: there is no place where a response could be kept."""

    model: str
    input: str | Annotated[list[InputMessage], Meta(min_length=1)]
    instructions: str | None = None
    max_output_tokens: Tokens | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    stream: bool | None = None
    store: Literal[False] | None = None
    metadata: dict[str, str] | None = None
    user: str | None = None


class Responses(Handler):
    path = "/v1/responses"
    also = (EVENTS,)
    ability = "chat"
    converses = True

    async def respond(self, exchange: Exchange) -> Response:
        request = await self.read(exchange, ResponsesRequest)
        with in_terms_of("input", max_new_tokens="max_output_tokens"):
            return await self._written(request, exchange)

    async def _written(self, request: ResponsesRequest, exchange: Exchange) -> Response:
        self.check_acceptable(exchange, asked_other=request.stream)
        adapter, _ = await self.service.model()
        if not isinstance(adapter, Chats):
            raise InvalidRequest("input: this model knows no conversations")
        conversation = adapter.chat(_messages(request))
        limit = request.max_output_tokens
        window = adapter.max_input_length()  # type: ignore[attr-defined]  # every adapter on a model has it
        parameters = self.parameters(
            temperature=request.temperature,
            top_p=request.top_p,
            max_new_tokens=limit,
            max_length=None if limit else whole_window(window),
            details="brief",
        )
        draft = _Draft(request, self.model)
        if request.stream:
            stream = await self.service.stream(conversation, parameters, exchange)
            return EventStream(_events(stream, draft), exchange)
        ((written,),) = await self.service.predict([conversation], parameters, exchange)
        details = written.details
        draft.text = written.generated_text
        whole = draft.ended(details.finish_reason, details.input_length, details.generated_tokens)
        return json_answer(whole)


def _messages(request: ResponsesRequest) -> list[dict[str, Any]]:
    """The conversation as the chat route's messages have it."""
    system = [{"role": "system", "content": request.instructions}] if request.instructions else []
    if isinstance(request.input, str):
        return [*system, {"role": "user", "content": request.input}]
    return [*system, *({"role": one.role, "content": _text(one)} for one in request.input)]


def _text(message: InputMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    return "".join(part.text for part in message.content)


class _Draft:
    """A response while it is being written."""

    def __init__(self, request: ResponsesRequest, model: str) -> None:
        self.text = ""
        self.item_id = new_id("msg")
        self._fixed = {
            "id": new_id("resp"),
            "object": "response",
            "created_at": int(time.time()),
            "model": model,
            "error": None,
            "instructions": request.instructions,
            "max_output_tokens": request.max_output_tokens,
            "metadata": request.metadata or {},
            "parallel_tool_calls": False,
            "previous_response_id": None,
            "reasoning": {"effort": None, "summary": None},
            "store": False,
            "temperature": request.temperature,
            "text": {"format": {"type": "text"}},
            "tool_choice": "none",
            "tools": [],
            "top_p": request.top_p,
            "truncation": "disabled",
            "user": request.user,
        }

    def begun(self) -> dict[str, Any]:
        return {
            **self._fixed,
            "status": "in_progress",
            "incomplete_details": None,
            "output": [],
            "usage": None,
        }

    def ended(self, finish: Finish, read: int, written: int) -> dict[str, Any]:
        cut = finish == "length"
        return {
            **self._fixed,
            "status": "incomplete" if cut else "completed",
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "output": [self.item("incomplete" if cut else "completed")],
            "usage": {
                "input_tokens": read,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": written,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": read + written,
            },
        }

    def item(self, status: str) -> dict[str, Any]:
        """The one message of the output."""
        content = [] if status == "in_progress" else [self.part()]
        return {
            "id": self.item_id,
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": content,
        }

    def part(self) -> dict[str, Any]:
        return {"type": "output_text", "text": self.text, "annotations": [], "logprobs": []}


async def _events(stream: Stream, draft: _Draft) -> AsyncIterator[bytes]:
    """OpenAI's events, and the end that all our streams have, which its clients pass over."""
    async for one in _told(stream, draft):
        yield one
    yield DONE


async def _told(stream: Stream, draft: _Draft) -> AsyncIterator[bytes]:
    number = 0

    def send(kind: str, **fields: Any) -> bytes:
        nonlocal number
        number += 1
        return event({"type": kind, "sequence_number": number - 1, **fields}, kind)

    for kind in ("response.created", "response.in_progress"):
        yield send(kind, response=draft.begun())
    where = {"item_id": draft.item_id, "output_index": 0, "content_index": 0}
    yield send("response.output_item.added", output_index=0, item=draft.item("in_progress"))
    yield send("response.content_part.added", part=draft.part(), **where)
    written, finish = 0, "length"
    try:
        async for piece in stream:
            written += 1
            draft.text += piece.text
            finish = piece.finish or finish
            if piece.text:
                yield send("response.output_text.delta", delta=piece.text, logprobs=[], **where)
    except ModelDeployError as error:
        body = error_body(error).error
        yield send("error", code=body.code, message=body.message, param=body.param)
        return
    whole = draft.ended(finish, len(stream.prompt.ids), written)  # type: ignore[arg-type]  # one of Finish
    for kind, fields in _closing(draft, whole, where):
        yield send(kind, **fields)


def _closing(
    draft: _Draft, whole: dict[str, Any], where: dict[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "response.output_text.done", {"text": draft.text, "logprobs": [], **where}
    yield "response.content_part.done", {"part": draft.part(), **where}
    yield "response.output_item.done", {"output_index": 0, "item": whole["output"][0]}
    yield f"response.{whole['status']}", {"response": whole}
