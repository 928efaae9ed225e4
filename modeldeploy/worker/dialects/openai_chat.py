"""``/v1/chat/completions`` and ``/v1/completions``, whole and streamed."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import msgspec
from starlette.responses import Response

from modeldeploy.errors import InvalidRequest, ModelDeployError
from modeldeploy.schema.tasks.generation import GeneratedText, Token, is_cold
from modeldeploy.web.answers import json_answer
from modeldeploy.web.shapes import error_body
from modeldeploy.worker.dialects.openai_common import (
    FINISH,
    Handler,
    in_terms_of,
    new_id,
    usage,
    usage_of,
    whole_window,
)
from modeldeploy.worker.dialects.openai_logprobs import Offsets, chat_logprobs, text_logprobs
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
    Usage,
)
from modeldeploy.worker.http.exchange import Exchange
from modeldeploy.worker.http.routing import EVENTS
from modeldeploy.worker.http.sse import DONE, EventStream, event
from modeldeploy.worker.http.streams import Stream

if TYPE_CHECKING:
    from modeldeploy.worker.generation.rows import Piece

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
    """What both routes share: one prompt or several, ``n`` choices each. Without sampling these
    are all the same, as OpenAI has it: then one is written, and told so many times."""

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
        if request.stream_options and not request.stream:
            raise InvalidRequest("stream_options: it needs stream to be true")
        self.check_acceptable(exchange, asked_other=request.stream)
        copies = _copies(request)
        parameters = self.parameters(
            num_return_sequences=request.n if copies == 1 else None,
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
        results = [list(texts) * copies for texts in results]
        choices = [
            self.choice(text, parameters, Offsets(self.start(given, parameters)))
            for given, texts in zip(inputs, results, strict=True)
            for text in texts
        ]
        choices = [msgspec.structs.replace(choice, index=at) for at, choice in enumerate(choices)]
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
        return EventStream(self._events(stream, parameters, request), exchange)

    async def _events(
        self, stream: Stream, parameters: Any, request: ChatRequest | CompletionRequest
    ) -> AsyncIterator[bytes]:
        with_usage = bool(request.stream_options and request.stream_options.include_usage)
        name, unset, written = new_id(self.prefix), None if with_usage else msgspec.UNSET, 0
        offsets: defaultdict[int, Offsets] = defaultdict(Offsets)

        def chunk(choices: list[Any], used: Any = unset) -> bytes:
            return event(self._completion(name, self.chunk_kind, choices, used))

        try:
            for at in range(request.n or 1):
                for opening in self.opening(at):
                    yield chunk([opening])
            async for one in stream:
                for piece in _copied(one, _copies(request)):
                    written += 1
                    for choice in self.delta(piece, parameters, offsets[piece.index]):
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

    @property
    def speller(self) -> Any:
        """What tells the tokens of the loaded model."""
        adapter: Any = self.service.adapter
        return adapter.speller

    def start(self, given: Any, parameters: Any) -> int:
        """Where in a choice's text that is written for ``given`` its first new token stands."""
        return 0

    @abstractmethod
    def choice(self, written: GeneratedText, parameters: Any, offsets: Offsets) -> Any:
        """One whole choice, numbered 0."""

    @abstractmethod
    def opening(self, at: int) -> list[Any]:
        """What a stream begins with, for one choice."""

    @abstractmethod
    def delta(self, piece: Piece, parameters: Any, offsets: Offsets) -> list[Any]:
        """What one piece adds to its choice, of which ``offsets`` have come so far."""


class Chat(_Writes):
    path = "/v1/chat/completions"
    kind, chunk_kind, prefix = "chat.completion", "chat.completion.chunk", "chatcmpl"
    ability = "chat"
    converses = True

    async def respond(self, exchange: Exchange) -> Response:
        request = await self.read(exchange, ChatRequest)
        adapter, _ = await self.service.model()
        if request.top_logprobs and not request.logprobs:
            raise InvalidRequest("top_logprobs: it needs logprobs to be true")
        if not isinstance(adapter, Chats):
            raise InvalidRequest("messages: this model knows no conversations")
        if request.max_tokens and request.max_completion_tokens:
            raise InvalidRequest("max_tokens: it says the same as max_completion_tokens; give one")
        limit = request.max_completion_tokens or request.max_tokens
        window = adapter.max_input_length()  # type: ignore[attr-defined]  # every adapter on a model has it
        handler = _WithLogprobs(self.service) if request.logprobs else self
        limited_by = "max_tokens" if request.max_tokens else "max_completion_tokens"
        with in_terms_of("messages", max_new_tokens=limited_by):
            return await handler.write(
                [adapter.chat(msgspec.to_builtins(request.messages))],
                request,
                exchange,
                details=True if request.logprobs else "brief",
                top_n_tokens=request.top_logprobs,
                max_new_tokens=limit,
                max_length=None if limit else whole_window(window),
            )

    def logprobs(self, tokens: Sequence[Token], tops: Sequence[list[Token]]) -> ChatLogprobs | None:
        return None

    def choice(self, written: GeneratedText, parameters: Any, offsets: Offsets) -> ChatChoice:
        details = written.details
        assert details is not None
        tops = details.top_tokens or [[] for _ in details.tokens]
        return ChatChoice(
            index=0,
            message=Answer(role="assistant", content=written.generated_text, refusal=None),
            logprobs=self.logprobs(details.tokens, tops),
            finish_reason=FINISH[details.finish_reason],
        )

    def opening(self, at: int) -> list[Any]:
        return [ChunkChoice(index=at, delta=Answer(role="assistant", content=""))]

    def delta(self, piece: Piece, parameters: Any, offsets: Offsets) -> list[Any]:
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
        return chat_logprobs(self.speller, tokens, tops)


class Completions(_Writes):
    """With ``echo`` the prompt stands before the text, but ``logprobs`` are those of the new
    tokens alone, at their places behind it: the model is not asked about the prompt's."""

    path = "/v1/completions"
    kind, chunk_kind, prefix = "text_completion", "text_completion", "cmpl"
    ability = "completions"

    async def respond(self, exchange: Exchange) -> Response:
        request = await self.read(exchange, CompletionRequest)
        if request.stream and request.echo:
            raise InvalidRequest("echo: a stream does not repeat its prompt")
        prompts = [request.prompt] if isinstance(request.prompt, str) else request.prompt
        with in_terms_of("prompt", max_new_tokens="max_tokens"):
            return await self.write(
                [self.task.inputs(prompt) for prompt in prompts],
                request,
                exchange,
                details=True if request.logprobs is not None else "brief",
                top_n_tokens=request.logprobs,
                return_full_text=bool(request.echo),
                max_new_tokens=request.max_tokens or _COMPLETION_TOKENS,
            )

    def start(self, given: Any, parameters: Any) -> int:
        return len(given.text) if parameters.return_full_text else 0

    def choice(self, written: GeneratedText, parameters: Any, offsets: Offsets) -> TextChoice:
        details = written.details
        assert details is not None
        tops = details.top_tokens or [[] for _ in details.tokens]
        return TextChoice(
            index=0,
            text=written.generated_text,
            logprobs=self._logprobs(details.tokens, tops, parameters, offsets),
            finish_reason=FINISH[details.finish_reason],
        )

    def opening(self, at: int) -> list[Any]:
        return []

    def delta(self, piece: Piece, parameters: Any, offsets: Offsets) -> list[Any]:
        token, top = self.tokens(piece)
        finish = FINISH[piece.finish] if piece.finish else None
        logprobs = self._logprobs([token], [top], parameters, offsets)
        return [
            TextChoice(index=piece.index, text=piece.text, logprobs=logprobs, finish_reason=finish)
        ]

    def _logprobs(
        self,
        tokens: Sequence[Token],
        tops: Sequence[list[Token]],
        parameters: Any,
        offsets: Offsets,
    ) -> TextLogprobs | None:
        if parameters.top_n_tokens is None:
            return None
        return text_logprobs(self.speller, tokens, tops, offsets)


def _copies(request: ChatRequest | CompletionRequest) -> int:
    """How often one written text is told: ``n`` times where all would be the same."""
    return (request.n or 1) if is_cold(request.temperature) else 1


def _copied(piece: Piece, copies: int) -> Iterable[Piece]:
    return [piece] if copies == 1 else [replace(piece, index=at) for at in range(copies)]


def _sum(used: list[Usage]) -> Usage:
    return usage(sum(one.prompt_tokens for one in used), sum(one.completion_tokens for one in used))
