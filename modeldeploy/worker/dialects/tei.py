"""The routes of Text Embeddings Inference: ``/embed``, ``/rerank``, ``/tokenize``.

As its OpenAPI document has them (https://huggingface.github.io/text-embeddings-inference). Where a
route does not fit the task it answers 404, in TEI's shape like every error here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

import msgspec
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from modeldeploy.errors import InvalidRequest, ModelDeployError, UnsupportedMediaType
from modeldeploy.schema.tasks import Ability, TaskSchema
from modeldeploy.schema.tasks.embeddings import (
    FeatureExtractionParameters,
    QueryTexts,
    Ranked,
    TextRankingParameters,
)
from modeldeploy.schema.tasks.text import Text
from modeldeploy.web.answers import json_answer
from modeldeploy.worker.effort import go_on
from modeldeploy.worker.http.exchange import Exchange, exchange_of
from modeldeploy.worker.http.operations import About, Operation, answer, bodies, errors
from modeldeploy.worker.http.requests import check_count, decode
from modeldeploy.worker.http.routing import JSON, JsonRoute
from modeldeploy.worker.http.service import Service
from modeldeploy.worker.http.streams import attending
from modeldeploy.worker.http.weight import weight

T = TypeVar("T")

Texts = Annotated[list[str], Meta(min_length=1)]
_ERROR_TYPES = {429: "overloaded", 503: "unhealthy"}


class EmbedRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    inputs: str | Texts
    normalize: bool = True
    truncate: bool | None = None
    truncation_direction: Literal["Left", "Right", "left", "right"] = "Right"
    prompt_name: str | None = None
    dimensions: Annotated[int, Meta(ge=1)] | None = None


class RerankRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    query: str
    texts: Texts
    raw_scores: bool = False
    return_text: bool = False
    truncate: bool | None = None


class TokenizeRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    inputs: str | Texts
    add_special_tokens: bool = True


class SimpleToken(Struct, frozen=True):
    """``start`` and ``stop`` are characters of the text, null for a token that is not of it."""

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


class TeiError(Struct, frozen=True):
    error: str
    error_type: str


@runtime_checkable
class Tokenizes(Protocol):
    """An adapter on a model that reads tokens: its ``tokens`` are
    :class:`~modeldeploy.worker.tasks.tokens.Tokens`."""

    tokens: Any


class _Known(NamedTuple):
    """A route: what a task must be able to do, its types, and an example."""

    path: str
    summary: str
    ability: Ability
    request: type[Struct]
    response: Any
    example: dict[str, Any]


_KNOWN = (
    _Known(
        "/embed",
        "Vectors of texts.",
        "embeddings",
        EmbedRequest,
        list[list[float]],
        {"inputs": ["one", "two"]},
    ),
    _Known(
        "/rerank",
        "Texts by how well they answer a query.",
        "rerank",
        RerankRequest,
        list[Ranked],
        {"query": "How do I get a refund?", "texts": ["The cat sleeps.", "Refunds take a day."]},
    ),
    _Known(
        "/tokenize",
        "The tokens of texts.",
        "tokenize",
        TokenizeRequest,
        list[list[SimpleToken]],
        {"inputs": "one, two"},
    ),
)


class TextEmbeddings:
    def __init__(self, service: Service) -> None:
        self._service = service

    @staticmethod
    def operations(about: About) -> list[Operation]:
        of = about.schemas.of
        return [
            Operation(
                "post",
                one.path,
                one.summary,
                {"200": answer("In order.", of(one.response)), **errors(of(TeiError))},
                bodies(of(one.request), one.example),
            )
            for one in _fitting(about.task)
        ]

    def routes(self) -> list[Route]:
        handlers = {"/embed": self._embed, "/rerank": self._rerank, "/tokenize": self._tokenize}
        return [
            JsonRoute(one.path, self._admitted(handlers[one.path]), "POST")
            for one in _fitting(self._service.task)
        ]

    def speaks(self, path: str) -> bool:
        return any(path == one.path for one in _KNOWN)

    def error(self, error: ModelDeployError, request_id: str) -> Response:
        told = f"{error.message} ({error.hint})" if error.hint else error.message
        default = "validation" if error.status < 500 else "backend"
        kind = _ERROR_TYPES.get(error.status, default)
        return json_answer(TeiError(told, kind), error.status)

    def _admitted(
        self, respond: Callable[[Exchange], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def handler(request: Request) -> Response:
            exchange = exchange_of(request.scope)
            self._service.admit(exchange)
            return await respond(exchange)

        return handler

    async def _read(self, exchange: Exchange, kind: type[T]) -> T:
        if exchange.media_type != JSON:
            raise UnsupportedMediaType(
                f"the content type is {exchange.media_type[:100]!r}", hint=f"send {JSON}"
            )
        raw = await self._service.body(exchange)
        found: T = await self._service.aside(len(raw), decode, raw, kind)
        return found

    def _listed(self, name: str, texts: str | list[str]) -> list[str]:
        found = [texts] if isinstance(texts, str) else texts
        check_count(name, len(found), self._service.limits.max_texts)
        return found

    async def _embed(self, exchange: Exchange) -> Response:
        request = await self._read(exchange, EmbedRequest)
        left = request.truncation_direction.lower() == "left"
        parameters = FeatureExtractionParameters(
            pooling="sentence",
            normalize=request.normalize,
            truncate=bool(request.truncate),
            truncation_direction="left" if left else "right",
            prompt_name=request.prompt_name,
            dimensions=request.dimensions,
        )
        inputs = [Text(one) for one in self._listed("inputs", request.inputs)]
        vectors = await self._service.predict(inputs, parameters, exchange)
        return await self._service.aside(weight(*vectors), json_answer, vectors)

    async def _rerank(self, exchange: Exchange) -> Response:
        request = await self._read(exchange, RerankRequest)
        parameters = TextRankingParameters(
            raw_scores=request.raw_scores,
            return_text=request.return_text,
            truncate=bool(request.truncate),
        )
        inputs = QueryTexts(query=request.query, texts=self._listed("texts", request.texts))
        (ranked,) = await self._service.predict([inputs], parameters, exchange)
        return json_answer(ranked)

    async def _tokenize(self, exchange: Exchange) -> Response:
        request = await self._read(exchange, TokenizeRequest)
        texts = self._listed("inputs", request.inputs)
        adapter, _ = await self._service.model()
        if not isinstance(adapter, Tokenizes):
            raise InvalidRequest("this model reads no tokens", hint="GET /info lists the endpoints")
        characters = sum(map(len, texts))
        with attending(self._service.limits.request_timeout, exchange):
            return await self._service.aside(
                characters, _tokenized, adapter.tokens, texts, request.add_special_tokens
            )


def _fitting(task: TaskSchema) -> list[_Known]:
    return [one for one in _KNOWN if one.ability in task.abilities]


def _tokenized(tokens: Any, texts: Sequence[str], special: bool) -> Response:
    encode = tokens.encode if special else tokens.encode_bare
    told: list[msgspec.Raw] = []
    for at, text in enumerate(texts):
        go_on()
        try:
            tokens.check_length(text)
            found = _of_one(tokens, text, encode)
        except InvalidRequest as error:
            if len(texts) > 1:
                error.message = f"inputs[{at}]: {error.message}"
            raise
        told.append(msgspec.Raw(msgspec.json.encode(found)))  # a tenth of what the tokens take
    return json_answer(told)


def _of_one(tokens: Any, text: str, encode: Callable[[str], Any]) -> list[SimpleToken]:
    encoded = encode(text)
    names = tokens.tokenizer.convert_ids_to_tokens(encoded.ids)
    rows = zip(encoded.ids, names, encoded.special, encoded.offsets, strict=True)
    return [
        SimpleToken(number, text[start:stop], False, start, stop)
        if tokens.has_offsets and not is_special
        else SimpleToken(number, name, bool(is_special), None, None)
        for number, name, is_special, (start, stop) in rows
    ]
