"""OpenAI's wire types, as far as we serve them (https://platform.openai.com/docs/api-reference).

Requests refuse what they do not know: a parameter that would be ignored is an error that names it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from modeldeploy.schema.tasks.generation import (
    MOST_TOP_TOKENS,
    Penalty,
    Seed,
    Stop,
    Temperature,
    Tokens,
    TopP,
)

MOST_CHOICES = 64


class StreamOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    include_usage: bool | None = None


class PlainText(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The only ``response_format`` there is."""

    type: Literal["text"]


class TextPart(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="text"):
    """A piece of a message's content."""

    text: str


class ImageUrl(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How closely an image is looked at is for the model's own processor to say."""

    url: str
    detail: Literal["auto"] | None = None


class ImagePart(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="image_url"):
    """An image in a message's content, as a data URI."""

    image_url: ImageUrl


class ChatMessage(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``name`` may be null only: no chat template here tells speakers of one role apart."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart | ImagePart]
    name: None = None


class _Written(Struct, frozen=True, kw_only=True):
    """What a request for text may ask, in whatever form. ``user`` means nothing here; ``top_k``
    and ``repetition_penalty`` are extensions that other servers have too."""

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Meta(ge=1, le=MOST_CHOICES)] | None = None
    stop: Stop | Annotated[list[Stop], Meta(max_length=16)] | None = None
    seed: Seed | None = None
    max_tokens: Tokens | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    top_k: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    repetition_penalty: Annotated[float, Meta(ge=0.01, le=100)] | None = None
    user: str | None = None


class ChatRequest(_Written, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``POST /v1/chat/completions``."""

    messages: Annotated[list[ChatMessage], Meta(min_length=1)]
    max_completion_tokens: Tokens | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=MOST_TOP_TOKENS)] | None = None
    response_format: PlainText | None = None


class CompletionRequest(_Written, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``POST /v1/completions``."""

    prompt: str | Annotated[list[str], Meta(min_length=1)]
    echo: bool | None = None
    logprobs: Annotated[int, Meta(ge=0, le=MOST_TOP_TOKENS)] | None = None


class EmbeddingRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``POST /v1/embeddings``."""

    model: str
    input: str | Annotated[list[str], Meta(min_length=1)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1)] | None = None
    user: str | None = None


class Usage(Struct, frozen=True, kw_only=True):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class TopLogprob(Struct, frozen=True, kw_only=True):
    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprob(Struct, frozen=True, kw_only=True):
    token: str
    logprob: float
    bytes: list[int] | None
    top_logprobs: list[TopLogprob] = []


class ChatLogprobs(Struct, frozen=True, kw_only=True):
    content: list[TokenLogprob]
    refusal: None = None


class Answer(Struct, frozen=True, kw_only=True):
    """The message of a choice, or what a chunk adds to it."""

    role: str | UnsetType = UNSET
    content: str | UnsetType | None = UNSET
    refusal: UnsetType | None = UNSET


class ChatChoice(Struct, frozen=True, kw_only=True):
    index: int
    message: Answer
    logprobs: ChatLogprobs | None = None
    finish_reason: str


class ChunkChoice(Struct, frozen=True, kw_only=True):
    index: int
    delta: Answer
    logprobs: ChatLogprobs | None = None
    finish_reason: str | None = None


class TextLogprobs(Struct, frozen=True, kw_only=True):
    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]] | None
    text_offset: list[int]


class TextChoice(Struct, frozen=True, kw_only=True):
    index: int
    text: str
    logprobs: TextLogprobs | None = None
    finish_reason: str | None = None


class Completion(Struct, frozen=True, kw_only=True):
    """The whole of an answer, or a chunk of a streamed one; ``object`` says which."""

    id: str
    object: str
    created: int
    model: str
    choices: list[Any]
    usage: Usage | UnsetType | None = UNSET
    system_fingerprint: str | None = None


class Embedding(Struct, frozen=True, kw_only=True):
    object: str = "embedding"
    index: int
    embedding: list[float] | str


class Embeddings(Struct, frozen=True, kw_only=True):
    object: str = "list"
    data: list[Embedding]
    model: str
    usage: dict[str, int]
