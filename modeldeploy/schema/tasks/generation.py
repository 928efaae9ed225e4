"""Tasks that write text."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from modeldeploy.schema.tasks.base import HuggingFace, TaskSchema
from modeldeploy.schema.tasks.text import Text

Tokens = Annotated[int, Meta(ge=1, le=1_000_000)]
Stop = Annotated[str, Meta(min_length=1, max_length=1024)]


class TextGenerationParameters(Struct, frozen=True, kw_only=True):
    """Sampling is on when ``do_sample`` says so; when it says nothing, then if ``temperature``
    (not 0), ``top_k`` or ``top_p`` is given, or more than one sequence is asked for.

    Of ``max_length`` and ``max_new_tokens`` the shorter holds; with neither, the model's own
    ``max_new_tokens`` or 50, as far as its window allows. With a ``seed`` the same request gets
    the same text.
    """

    max_length: Annotated[Tokens, Meta(description="Prompt and new tokens together.")] | None = None
    max_new_tokens: Annotated[Tokens, Meta(description="New tokens alone.")] | None = None
    num_return_sequences: Annotated[int, Meta(ge=1, le=64)] = 1
    do_sample: bool | None = None
    temperature: Annotated[float, Meta(ge=0, le=100)] | None = None
    top_k: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Meta(ge=0.01, le=100)] | None = None
    stop: Stop | Annotated[list[Stop], Meta(max_length=16)] | None = None
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    return_full_text: Annotated[
        bool, Meta(description="Whether the prompt stands before the new text.")
    ] = True


class GeneratedText(Struct, frozen=True):
    generated_text: str


TEXT_GENERATION = TaskSchema(
    name="text-generation",
    model_type="nlp",
    inputs=Text,
    parameters=TextGenerationParameters,
    output=list[GeneratedText],
    many=("text", "texts"),
    example={"text": "Once upon a time", "max_new_tokens": 40},
    result=[{"generated_text": "Once upon a time there was a small house by the sea."}],
    smoke={"text": "Once", "max_new_tokens": 2},
    auto_class="AutoModelForCausalLM",
    hf=HuggingFace(defaults={"return_full_text": False}),
    adapter="modeldeploy.worker.tasks.text_generation:TextGeneration",
)

TASKS = (TEXT_GENERATION,)
