"""Tasks whose output is a vector, or a comparison of vectors or pairs."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from modeldeploy.schema.tasks.base import HuggingFace, TaskSchema
from modeldeploy.schema.tasks.text import Text, Truncate

Pooling = Literal["model", "sentence", "none", "cls", "mean", "last"]


class _Embedding(Struct, frozen=True, kw_only=True):
    truncate: Truncate = False
    truncation_direction: Annotated[
        Literal["right", "left"], Meta(description="Which end of a text is cut off.")
    ] = "right"
    prompt_name: (
        Annotated[str, Meta(description="One of the prompts that come with the model.")] | None
    ) = None


class FeatureExtractionParameters(_Embedding, frozen=True, kw_only=True):
    """Without ``pooling`` and ``normalize`` the model's own modules decide; a model that has none
    gives the features of each token."""

    pooling: Annotated[
        Pooling,
        Meta(
            description="How the tokens' features become one vector: as the model says (model), as "
            "it says or else their mean (sentence), not at all (none), or this way."
        ),
    ] = "model"
    normalize: Annotated[bool, Meta(description="Make its length 1.")] | None = None
    dimensions: (
        Annotated[int, Meta(ge=1, description="Keep so many of the vector's first numbers.")] | None
    ) = None
    encoding_format: Annotated[
        Literal["float", "base64"],
        Meta(
            description="A vector as a list, or as base64 of its numbers (float32, little-endian)."
        ),
    ] = "float"


FEATURE_EXTRACTION = TaskSchema(
    name="feature-extraction",
    abilities=frozenset({"embeddings", "tokenize"}),
    aliases=("embeddings",),
    model_type="nlp",
    inputs=Text,
    parameters=FeatureExtractionParameters,
    output=list[float] | list[list[float]] | str,
    many=("text", "texts"),
    example={"text": "A sentence to compare with others."},
    result=[0.021, -0.113, 0.064, 0.008],
    auto_class="AutoModel",
    adapter="modeldeploy.worker.tasks.feature_extraction:Embedder",
    hf=HuggingFace(listed=True),
    twin="sentence-similarity",
)


class SentencePairs(Struct, frozen=True, kw_only=True):
    source_sentence: Annotated[str, Meta(description="What the others are compared with.")]
    sentences: Annotated[list[str], Meta(min_length=1)]


class SentenceSimilarityParameters(_Embedding, frozen=True, kw_only=True):
    pass


SENTENCE_SIMILARITY = TaskSchema(
    name="sentence-similarity",
    abilities=frozenset({"embeddings", "tokenize"}),
    model_type="nlp",
    inputs=SentencePairs,
    parameters=SentenceSimilarityParameters,
    output=list[float],
    example={
        "source_sentence": "How do I get a refund?",
        "sentences": ["Can I have my money back?", "The cat is asleep."],
    },
    result=[0.81, 0.03],
    auto_class="AutoModel",
    adapter="modeldeploy.worker.tasks.feature_extraction:Embedder",
    twin="feature-extraction",
)


class QueryTexts(Struct, frozen=True, kw_only=True):
    query: Annotated[str, Meta(description="What is looked for.")]
    texts: Annotated[list[str], Meta(min_length=1)]


class TextRankingParameters(Struct, frozen=True, kw_only=True):
    raw_scores: Annotated[
        bool, Meta(description="The model's logits, not squeezed into 0 to 1.")
    ] = False
    return_text: Annotated[bool, Meta(description="Repeat each text beside its score.")] = False
    top_k: Annotated[int, Meta(ge=1, description="How many, best first.")] | None = None
    truncate: Truncate = False


class Ranked(Struct, frozen=True, omit_defaults=True):
    """``index`` is the text's place in the request."""

    index: int
    score: float
    text: str | None = None


TEXT_RANKING = TaskSchema(
    name="text-ranking",
    abilities=frozenset({"rerank", "tokenize"}),
    aliases=("rerank",),
    model_type="nlp",
    inputs=QueryTexts,
    parameters=TextRankingParameters,
    output=list[Ranked],
    example={
        "query": "How do I get a refund?",
        "texts": ["The cat is asleep.", "Refunds are paid within thirty days."],
    },
    result=[{"index": 1, "score": 0.97}, {"index": 0, "score": 0.0001}],
    auto_class="AutoModelForSequenceClassification",
    adapter="modeldeploy.worker.tasks.text_ranking:TextRanking",
)

TASKS = (FEATURE_EXTRACTION, SENTENCE_SIMILARITY, TEXT_RANKING)
