"""Tasks that write text."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from modeldeploy.schema.tasks.base import HuggingFace, TaskSchema
from modeldeploy.schema.tasks.text import Text

MOST_TOP_TOKENS = 20
MOST_TOKENS = 1_000_000
Tokens = Annotated[int, Meta(ge=1, le=MOST_TOKENS)]
Stop = Annotated[str, Meta(min_length=1, max_length=1024)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Temperature = Annotated[float, Meta(ge=0, le=100)]
TopP = Annotated[float, Meta(gt=0, le=1)]
Seed = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Finish = Literal["length", "eos_token", "stop_sequence"]
COLDEST = 1e-3  # below it, and at 0, the likeliest token is taken


def is_cold(temperature: float | None) -> bool:
    """Whether it asks for the likeliest token, each time."""
    return temperature is not None and temperature < COLDEST


class TextGenerationParameters(Struct, frozen=True, kw_only=True):
    """Sampling is on when ``do_sample`` says so; when it says nothing, then if ``temperature``
    (not 0), ``top_k``, ``top_p`` or ``typical_p`` is given, or more than one sequence is asked for.

    Of ``max_length`` and ``max_new_tokens`` the shorter holds, the former alone as far as there is
    room for others beside it; with neither, the model's own ``max_new_tokens`` or ``max_length``,
    else 50, as far as its window allows. With a ``seed`` the same request gets the same text (in half
    precision only as long as it has the same company). What else the model's ``generation_config``
    asks for holds too; ``notes`` of ``/info`` say what of it does not.
    """

    max_length: Annotated[Tokens, Meta(description="Prompt and new tokens together.")] | None = None
    max_new_tokens: Annotated[Tokens, Meta(description="New tokens alone.")] | None = None
    num_return_sequences: Annotated[int, Meta(ge=1, le=64)] = 1
    do_sample: bool | None = None
    temperature: Temperature | None = None
    top_k: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    top_p: TopP | None = None
    typical_p: (
        Annotated[TopP, Meta(description="Sample among the most typical tokens of this mass.")]
        | None
    ) = None
    repetition_penalty: Annotated[float, Meta(ge=0.01, le=100)] | None = None
    frequency_penalty: (
        Annotated[Penalty, Meta(description="Taken off a token's logit each time it was written.")]
        | None
    ) = None
    presence_penalty: (
        Annotated[Penalty, Meta(description="Taken off the logit of what was written once.")] | None
    ) = None
    stop: Stop | Annotated[list[Stop], Meta(max_length=16)] | None = None
    seed: Seed | None = None
    return_full_text: Annotated[
        bool, Meta(description="Whether the prompt stands before the new text.")
    ] = True
    truncate: (
        Annotated[Tokens, Meta(description="Keep only so many of the prompt's last tokens.")] | None
    ) = None
    details: Annotated[
        bool | Literal["brief"],
        Meta(
            description="Tell why it ended and how many tokens there are (brief), and each token "
            "with its logprob (true)."
        ),
    ] = False
    top_n_tokens: (
        Annotated[
            int,
            Meta(ge=0, le=MOST_TOP_TOKENS, description="Likeliest tokens to name at each place."),
        ]
        | None
    ) = None
    decoder_input_details: Annotated[
        Literal[False], Meta(description="Not supported: only false.")
    ] = False
    watermark: Annotated[Literal[False], Meta(description="Not supported: only false.")] = False
    best_of: Annotated[int, Meta(ge=1, le=1, description="Not supported: only 1.")] | None = None
    grammar: Annotated[None, Meta(description="Not supported: only null.")] = None
    adapter_id: Annotated[None, Meta(description="Not supported: only null.")] = None


class Token(Struct, frozen=True):
    """``logprob`` is the model's own, before temperature and penalties."""

    id: int
    text: str
    logprob: float
    special: bool


class Details(Struct, frozen=True, kw_only=True):
    finish_reason: Finish
    generated_tokens: int
    input_length: int
    seed: int | None = None
    prefill: list[Token] = []
    tokens: list[Token] = []
    top_tokens: list[list[Token]] | None = None


class GeneratedText(Struct, frozen=True, omit_defaults=True):
    generated_text: str
    details: Details | None = None


class StreamedToken(Struct, frozen=True, kw_only=True):
    """One event of a stream; ``generated_text`` and ``details`` come with the last one alone.

    ``index`` counts the tokens from 1. The text of a token may be empty: a character that is not
    whole yet, or one that may become a stop string, comes with a later token.
    """

    index: int
    token: Token
    top_tokens: list[Token] | None = None
    generated_text: str | None = None
    details: Details | None = None


class Message(Struct, frozen=True, kw_only=True):
    """One turn of a conversation."""

    role: str
    content: str


class Conversation(Struct, frozen=True, kw_only=True):
    """What a chat template makes a prompt of; an input beside :class:`Text`, from dialects that
    know conversations."""

    messages: list[Message] = field(default_factory=list)


TEXT_GENERATION = TaskSchema(
    name="text-generation",
    abilities=frozenset({"chat", "completions"}),
    model_type="nlp",
    inputs=Text,
    parameters=TextGenerationParameters,
    output=list[GeneratedText],
    many=("text", "texts"),
    example={"text": "Once upon a time", "max_new_tokens": 40},
    result=[{"generated_text": "Once upon a time there was a small house by the sea."}],
    smoke={"text": "Once", "max_new_tokens": 2},
    auto_class="AutoModelForCausalLM",
    adapter="modeldeploy.worker.tasks.text_generation:TextGeneration",
    hf=HuggingFace(defaults={"return_full_text": False}, streamed=StreamedToken),
)

TASKS = (TEXT_GENERATION,)
