"""Tasks that read a text token by token, fill its gaps, or judge it by labels of one's own."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from modeldeploy.schema.tasks.base import TaskSchema
from modeldeploy.schema.tasks.text import Label, LabelText, Text, TopK, Truncate

Aggregation = Literal["none", "simple", "first", "average", "max"]


class TokenClassificationParameters(Struct, frozen=True, kw_only=True):
    aggregation_strategy: Annotated[
        Aggregation,
        Meta(
            description="How tokens become entities: not at all (none), neighbours with the same "
            "tag (simple), or words first, tagged by their first token, the average of their tokens "
            "or the surest one."
        ),
    ] = "simple"
    ignore_labels: Annotated[list[str], Meta(max_length=1000, description="Left out.")] = field(
        default_factory=lambda: ["O"]
    )
    stride: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=4096,
                description="Read a text that is longer than the window in windows that share so "
                "many tokens; without it such a text is refused.",
            ),
        ]
        | None
    ) = None


class Entity(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``entity`` and ``index`` for single tokens, ``entity_group`` for groups; ``start`` and
    ``end`` are character offsets, null where the tokenizer has none."""

    entity: str | None = None
    entity_group: str | None = None
    score: float
    index: int | None = None
    word: str
    start: int | None
    end: int | None


TOKEN_CLASSIFICATION = TaskSchema(
    name="token-classification",
    aliases=("ner",),
    model_type="nlp",
    inputs=Text,
    parameters=TokenClassificationParameters,
    output=list[Entity],
    many=("text", "texts"),
    example={"text": "Ada moved from Paris to London."},
    result=[{"entity_group": "LOC", "score": 0.99, "word": "Paris", "start": 15, "end": 20}],
    auto_class="AutoModelForTokenClassification",
    adapter="modeldeploy.worker.tasks.token_classification:TokenClassification",
)


class FillMaskParameters(Struct, frozen=True, kw_only=True):
    top_k: Annotated[TopK, Meta(description="How many tokens for each gap, best first.")] = 5
    targets: (
        LabelText
        | Annotated[
            list[LabelText],
            Meta(min_length=1, max_length=1000, description="Choose among these alone."),
        ]
        | None
    ) = None


class Filled(Struct, frozen=True, kw_only=True):
    """``sequence`` is the whole text with the gap filled."""

    sequence: str
    score: float
    token: int
    token_str: str


FILL_MASK = TaskSchema(
    name="fill-mask",
    model_type="nlp",
    inputs=Text,
    parameters=FillMaskParameters,
    output=list[Filled] | list[list[Filled]],
    many=("text", "texts"),
    # Models name their gap differently; the adapter takes [MASK] and <mask> for its own.
    example={"text": "The capital of France is [MASK]."},
    result=[
        {
            "sequence": "the capital of france is paris.",
            "score": 0.42,
            "token": 3000,
            "token_str": "paris",
        }
    ],
    auto_class="AutoModelForMaskedLM",
    adapter="modeldeploy.worker.tasks.fill_mask:FillMask",
)


class ZeroShotClassificationParameters(Struct, frozen=True, kw_only=True):
    candidate_labels: Annotated[list[LabelText], Meta(min_length=1, max_length=256)]
    multi_label: Annotated[
        bool, Meta(description="Each label is judged alone; the scores do not sum to 1.")
    ] = False
    hypothesis_template: Annotated[
        str, Meta(min_length=2, max_length=1000, pattern=r"\{\}", description="{} is the label.")
    ] = "This example is {}."
    truncate: Truncate = False


ZERO_SHOT_CLASSIFICATION = TaskSchema(
    name="zero-shot-classification",
    model_type="nlp",
    inputs=Text,
    parameters=ZeroShotClassificationParameters,
    output=list[Label],
    many=("text", "texts"),
    example={
        "text": "The new phone has a wonderful camera.",
        "candidate_labels": ["technology", "cooking", "politics"],
    },
    result=[
        {"label": "technology", "score": 0.96},
        {"label": "cooking", "score": 0.02},
        {"label": "politics", "score": 0.02},
    ],
    auto_class="AutoModelForSequenceClassification",
    adapter="modeldeploy.worker.tasks.zero_shot_classification:ZeroShotClassification",
)

TASKS = (TOKEN_CLASSIFICATION, FILL_MASK, ZERO_SHOT_CLASSIFICATION)
