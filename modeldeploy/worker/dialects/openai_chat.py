"""``/v1/chat/completions`` and ``/v1/completions``, whole and streamed."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol, runtime_checkable

import msgspec
from starlette.responses import Response

from modeldeploy.errors import InvalidRequest, ModelDeployError
from modeldeploy.schema.tasks.generation import GeneratedText, Token
from modeldeploy.worker.answers import json_answer
from modeldeploy.worker.dialects.openai_common import (
    FINISH,
    Handler,
    error_body,
    new_id,
    usage,
    usage_of,
)
from modeldeploy.worker.dialects.openai_types import (
    Answer,
    ChatChoice,
    ChatLogprobs,
    ChatRequest,
    ChunkChoice,
    Completion,
    CompletionRequest,
    TextChoice,
    TextLogprobs,
    TokenLogprob,
    TopLogprob,
    Usage,
)
from modeldeploy.worker.exchange import Exchange
from modeldeploy.worker.generation.rows import Piece
from modeldeploy.worker.routing import EVENTS
from modeldeploy.worker.sse import DONE, EventStream, event
from modeldeploy.worker.streams import Stream

_COMPLETION_TOKENS = 16  # OpenAI's own default for the old route


@runtime_checkable
class Chats(Protocol):
    """An adapter that knows conversations."""

    def chat(self, messages: list[dict[str, Any]]) -> Any:
        """The task's input that stands for a conversation.

        Raises:
            InvalidRequest: the model has no chat template, or cannot take what the messages hold.
        """
        ...


class _Writes(Handler):
    """What both routes share: one prompt or several, ``n`` choices each."""

    also = (EVENTS,)
    kind: str
    chunk_kind: str
    prefix: str

    async def write(
        self,
        inputs: list[Any],
        request: ChatRequest | CompletionRequest,
        exchange: Exchange,
        **how: Any,
    ) -> Response:
        """
        Args:
            how: the task's parameters beside those that both requests have.
        """
        parameters = self.parameters(
            num_return_sequences=request.n,
            stop=request.stop,
            seed=request.seed,
            temperature=request.temperature,
            top_p=request.top_p,
            top_k=request.top_k,
            frequency_penalty=request.frequency_penalty,
            presence_penalty=request.presence_penalty,
            repetition_penalty=request.repetition_penalty,
            **{"details": "brief", **how},
        )
        if request.stream:
            return await self._stream(inputs, parameters, request, exchange)
        results = await self.service.predict(inputs, parameters, exchange)
        choices = [
            self.choice(at, one, parameters)
            for at, one in enumerate(text for texts in results for text in texts)
        ]
        used = [usage_of([one.details for one in texts]) for texts in results]
        return json_answer(self._completion(new_id(self.prefix), self.kind, choices, _sum(used)))

    def _completion(self, name: str, kind: str, choices: list[Any], used: Any) -> Completion:
        return Completion(
            id=name,
            object=kind,
            created=int(time.time()),
            model=self.model,
            choices=choices,
            usage=used,
        )

    async def _stream(
        self,
        inputs: list[Any],
        parameters: Any,
        request: ChatRequest | CompletionRequest,
        exchange: Exchange,
    ) -> Response:
        if len(inputs) > 1:
            raise InvalidRequest("prompt: only one prompt can be streamed", hint="send them apart")
        stream = await self.service.stream(inputs[0], parameters, exchange)
        with_usage = bool(request.stream_options and request.stream_options.include_usage)
        return EventStream(self._events(stream, parameters, with_usage=with_usage), exchange)

    async def _events(
        self, stream: Stream, parameters: Any, *, with_usage: bool
    ) -> AsyncIterator[bytes]:
        name, unset, written = new_id(self.prefix), None if with_usage else msgspec.UNSET, 0

        def chunk(choices: list[Any], used: Any = unset) -> bytes:
            return event(self._completion(name, self.chunk_kind, choices, used))

        try:
            for at in range(parameters.num_return_sequences):
                for opening in self.opening(at):
                    yield chunk([opening])
            async for piece in stream:
                written += 1
                for choice in self.delta(piece, parameters):
                    yield chunk([choice])
            if with_usage:
                yield chunk([], usage(len(stream.prompt.ids), written))
        except ModelDeployError as error:
            yield event(error_body(error))
        yield DONE

    def tokens(self, piece: Piece) -> tuple[Token, list[Token]]:
        """A piece's token and the likeliest ones at its place."""
        adapter: Any = self.service.adapter
        return adapter.token(piece), adapter.top(piece.choice)

    @abstractmethod
    def choice(self, at: int, written: GeneratedText, parameters: Any) -> Any:
        """One whole choice."""

    @abstractmethod
    def opening(self, at: int) -> list[Any]:
        """What a stream begins with, for one choice."""

    @abstractmethod
    def delta(self, piece: Piece, parameters: Any) -> list[Any]:
        """What one piece adds."""


class Chat(_Writes):
    path = "/v1/chat/completions"
    kind, chunk_kind, prefix = "chat.completion", "chat.completion.chunk", "chatcmpl"
    tasks = frozenset({"text-generation", "image-text-to-text", "any-to-any"})
    converses = True

    async def respond(self, exchange: Exchange) -> Response:
        request = await self.read(exchange, ChatRequest)
        adapter, _ = await self.service.model()
        if request.top_logprobs and not request.logprobs:
            raise InvalidRequest("top_logprobs: it needs logprobs to be true")
        if not isinstance(adapter, Chats):
            raise InvalidRequest("messages: this model knows no conversations")
        conversation = adapter.chat(msgspec.to_builtins(request.messages))
        limit = request.max_completion_tokens or request.max_tokens
        handler = _WithLogprobs(self.service) if request.logprobs else self
        return await handler.write(
            [conversation],
            request,
            exchange,
            details=True if request.logprobs else "brief",
            top_n_tokens=request.top_logprobs,
            **({"max_new_tokens": limit} if limit else {"max_length": adapter.max_input_length()}),  # type: ignore[attr-defined]  # every adapter on a model has it
        )

    def logprobs(self, tokens: Sequence[Token], tops: Sequence[list[Token]]) -> ChatLogprobs | None:
        return None

    def choice(self, at: int, written: GeneratedText, parameters: Any) -> ChatChoice:
        details = written.details
        assert details is not None
        tops = details.top_tokens or [[] for _ in details.tokens]
        return ChatChoice(
            index=at,
            message=Answer(role="assistant", content=written.generated_text, refusal=None),
            logprobs=self.logprobs(details.tokens, tops),
            finish_reason=FINISH[details.finish_reason],
        )

    def opening(self, at: int) -> list[Any]:
        return [ChunkChoice(index=at, delta=Answer(role="assistant", content=""))]

    def delta(self, piece: Piece, parameters: Any) -> list[Any]:
        found = []
        token, top = self.tokens(piece)
        logprobs = self.logprobs([token], [top])
        if piece.text or logprobs:
            answer = Answer(content=piece.text)
            found.append(ChunkChoice(index=piece.index, delta=answer, logprobs=logprobs))
        if piece.finish:
            finish = FINISH[piece.finish]
            found.append(ChunkChoice(index=piece.index, delta=Answer(), finish_reason=finish))
        return found


class _WithLogprobs(Chat):
    def logprobs(self, tokens: Sequence[Token], tops: Sequence[list[Token]]) -> ChatLogprobs | None:
        return ChatLogprobs(
            content=[
                TokenLogprob(
                    token=token.text,
                    logprob=token.logprob,
                    bytes=list(token.text.encode()),
                    top_logprobs=[
                        TopLogprob(
                            token=one.text, logprob=one.logprob, bytes=list(one.text.encode())
                        )
                        for one in top
                    ],
                )
                for token, top in zip(tokens, tops, strict=True)
            ]
        )


class Completions(_Writes):
    path = "/v1/completions"
    kind, chunk_kind, prefix = "text_completion", "text_completion", "cmpl"
    tasks = frozenset({"text-generation"})

    async def respond(self, exchange: Exchange) -> Response:
        request = await self.read(exchange, CompletionRequest)
        if request.stream and request.echo:
            raise InvalidRequest("echo: a stream does not repeat its prompt")
        prompts = [request.prompt] if isinstance(request.prompt, str) else request.prompt
        return await self.write(
            [self.task.inputs(prompt) for prompt in prompts],
            request,
            exchange,
            details=True if request.logprobs is not None else "brief",
            top_n_tokens=request.logprobs,
            return_full_text=request.echo,
            max_new_tokens=request.max_tokens or _COMPLETION_TOKENS,
        )

    def choice(self, at: int, written: GeneratedText, parameters: Any) -> TextChoice:
        details = written.details
        assert details is not None
        tops = details.top_tokens or [[] for _ in details.tokens]
        return TextChoice(
            index=at,
            text=written.generated_text,
            logprobs=_text_logprobs(details.tokens, tops, parameters),
            finish_reason=FINISH[details.finish_reason],
        )

    def opening(self, at: int) -> list[Any]:
        return []

    def delta(self, piece: Piece, parameters: Any) -> list[Any]:
        token, top = self.tokens(piece)
        finish = FINISH[piece.finish] if piece.finish else None
        logprobs = _text_logprobs([token], [top], parameters)
        return [
            TextChoice(index=piece.index, text=piece.text, logprobs=logprobs, finish_reason=finish)
        ]


def _text_logprobs(
    tokens: Sequence[Token], tops: Sequence[list[Token]], parameters: Any
) -> TextLogprobs | None:
    if parameters.top_n_tokens is None:
        return None
    offsets, at = [], 0
    for token in tokens:
        offsets.append(at)
        at += len(token.text)
    return TextLogprobs(
        tokens=[token.text for token in tokens],
        token_logprobs=[token.logprob for token in tokens],
        top_logprobs=[{one.text: one.logprob for one in top} for top in tops],
        text_offset=offsets,
    )


def _sum(used: list[Usage]) -> Usage:
    return usage(sum(one.prompt_tokens for one in used), sum(one.completion_tokens for one in used))
