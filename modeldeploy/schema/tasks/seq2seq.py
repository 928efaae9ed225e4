"""Tasks that make a new text of a text: an encoder reads it, a decoder writes."""

from __future__ import annotations

import re
from functools import cache
from typing import Annotated, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from modeldeploy.schema.tasks.base import HuggingFace, TaskSchema
from modeldeploy.schema.tasks.generation import GeneratedText, Seed, Stop, Temperature, Tokens, TopP
from modeldeploy.schema.tasks.text import Text, Truncate

MOST_BEAMS = 16
_PAIR = re.compile(r"translation_([\w-]{1,64}?)_to_([\w-]{1,64})")
Ngram = Annotated[int, Meta(ge=0, le=1000)]


class Decoding(Struct, frozen=True, kw_only=True):
    """How ``generate`` decodes; the names are its own. What is left out is as the model's
    ``generation_config`` (and ``task_specific_params``) say; where they say nothing either,
    256 new tokens at most.

    Sampling is on when ``do_sample`` says so; when it says nothing, then if ``temperature`` (not
    0), ``top_k`` or ``top_p`` is given. With a ``seed`` the same request gets the same text.
    """

    max_length: (
        Annotated[
            Tokens, Meta(description="Tokens that the decoder holds, the one it starts with too.")
        ]
        | None
    ) = None
    max_new_tokens: (
        Annotated[Tokens, Meta(description="New tokens alone; of the two the shorter holds.")]
        | None
    ) = None
    min_length: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    min_new_tokens: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    num_beams: Annotated[int, Meta(ge=1, le=MOST_BEAMS)] | None = None
    early_stopping: bool | None = None
    length_penalty: Annotated[float, Meta(ge=-100, le=100)] | None = None
    no_repeat_ngram_size: Ngram | None = None
    do_sample: bool | None = None
    temperature: Temperature | None = None
    top_k: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    top_p: TopP | None = None
    repetition_penalty: Annotated[float, Meta(ge=0.01, le=100)] | None = None
    stop: Stop | Annotated[list[Stop], Meta(max_length=16)] | None = None
    seed: Seed | None = None


class GenerateParameters(Decoding, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same, as huggingface_hub's client sends it: in an object of its own."""


class Seq2SeqParameters(Decoding, frozen=True, kw_only=True):
    truncate: Truncate = False
    truncation: (
        Annotated[
            Literal["do_not_truncate", "longest_first", "only_first", "only_second"],
            Meta(description="huggingface_hub's name of `truncate`; `only_second` cuts nothing."),
        ]
        | None
    ) = None
    clean_up_tokenization_spaces: (
        Annotated[bool, Meta(description="Default: as the model's tokenizer says.")] | None
    ) = None
    generate_parameters: (
        Annotated[
            GenerateParameters,
            Meta(description="The decoding's fields once more; those beside it come first."),
        ]
        | None
    ) = None


Language = Annotated[str, Meta(min_length=1, max_length=64)]


class TranslationParameters(Seq2SeqParameters, frozen=True, kw_only=True):
    """Languages go by the model's own codes (``en_XX`` with mBART, ``eng_Latn`` with NLLB, ``en``
    with M2M100 and T5); a code's beginning (``en``, ``eng``) will do where it is the only one.

    What is left out is as the task's name says (``translation_en_to_de``); else the model's own
    source language, and from there its own target language if it has one, else French (from
    French: English).
    """

    src_lang: Annotated[Language, Meta(description="The text's language.")] | None = None
    tgt_lang: Annotated[Language, Meta(description="The language to translate to.")] | None = None


class Summary(Struct, frozen=True):
    summary_text: str


class Translation(Struct, frozen=True):
    translation_text: str


SUMMARIZATION = TaskSchema(
    name="summarization",
    model_type="nlp",
    inputs=Text,
    parameters=Seq2SeqParameters,
    output=Summary,
    many=("text", "texts"),
    example={
        "text": "Ada moved from Paris to London, where she lives with her sister. Both work in a "
        "bakery near the river, and on Sundays they sell bread on the market.",
        "max_new_tokens": 30,
        "min_length": 0,
    },
    result={"summary_text": "Ada and her sister work in a London bakery."},
    smoke={"text": "Ada lives in London.", "max_new_tokens": 2, "min_length": 0, "num_beams": 1},
    auto_class="AutoModelForSeq2SeqLM",
    adapter="modeldeploy.worker.tasks.seq2seq:Summarization",
    hf=HuggingFace(listed=True),
)

TRANSLATION = TaskSchema(
    name="translation",
    model_type="nlp",
    inputs=Text,
    parameters=TranslationParameters,
    output=Translation,
    many=("text", "texts"),
    example={"text": "Ada lives in London with her sister."},
    result={"translation_text": "Ada vit à Londres avec sa sœur."},
    smoke={"text": "Hello.", "max_new_tokens": 2, "min_length": 0, "num_beams": 1},
    auto_class="AutoModelForSeq2SeqLM",
    adapter="modeldeploy.worker.tasks.translation:Translating",
    hf=HuggingFace(listed=True),
)


def pair_of(name: str) -> tuple[str, str] | None:
    """The languages of a ``translation_xx_to_yy``, source and target."""
    found = _PAIR.fullmatch(name)
    return (found[1], found[2]) if found else None


@cache
def translation_of(name: str) -> TaskSchema | None:
    """Translation under the name ``translation_xx_to_yy``, which sets the languages."""
    return replace(TRANSLATION, name=name) if pair_of(name) else None


TEXT2TEXT_GENERATION = TaskSchema(
    name="text2text-generation",
    model_type="nlp",
    inputs=Text,
    parameters=Seq2SeqParameters,
    output=GeneratedText,
    many=("text", "texts"),
    example={"text": "Where does Ada live? Ada lives in London.", "max_new_tokens": 20},
    result={"generated_text": "London"},
    smoke={"text": "Where?", "max_new_tokens": 2, "min_length": 0, "num_beams": 1},
    auto_class="AutoModelForSeq2SeqLM",
    adapter="modeldeploy.worker.tasks.seq2seq:Text2Text",
    hf=HuggingFace(listed=True),
)

TASKS = (SUMMARIZATION, TRANSLATION, TEXT2TEXT_GENERATION)
