"""Tasks whose input is a text and whose output is not."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from modeldeploy.schema.tasks.base import HuggingFace, TaskSchema

FunctionToApply = Literal["softmax", "sigmoid", "none"]
ALL_LABELS = 10_000
TopK = Annotated[int, Meta(ge=1, le=ALL_LABELS)]
Truncate = Annotated[bool, Meta(description="Cut a text that is longer than the model's window.")]
LabelText = Annotated[str, Meta(min_length=1, max_length=1000)]
CandidateLabels = Annotated[
    list[LabelText],
    Meta(min_length=1, max_length=1000, description="What to look for, in words."),
]


class Text(Struct, frozen=True):
    text: Annotated[str, Meta(description="The text to predict on.")]


class Label(Struct, frozen=True):
    label: str
    score: float


class ClassificationParameters(Struct, frozen=True, kw_only=True):
    top_k: Annotated[TopK, Meta(description="How many labels to return, best first.")] = 5
    function_to_apply: (
        Annotated[
            FunctionToApply,
            Meta(description="How logits become scores; default: as the model's config says."),
        ]
        | None
    ) = None


class TextClassificationParameters(ClassificationParameters, frozen=True, kw_only=True):
    top_k: Annotated[TopK, Meta(description="How many labels to return, best first.")] = 1
    truncate: Truncate = False


TEXT_CLASSIFICATION = TaskSchema(
    name="text-classification",
    abilities=frozenset({"tokenize"}),
    aliases=("sentiment-analysis",),
    model_type="nlp",
    inputs=Text,
    parameters=TextClassificationParameters,
    output=list[Label],
    many=("text", "texts"),
    example={"text": "I love this product!"},
    result=[{"label": "POSITIVE", "score": 0.98}],
    auto_class="AutoModelForSequenceClassification",
    hf=HuggingFace(defaults={"top_k": ALL_LABELS}, listed=True),
    adapter="modeldeploy.worker.tasks.text_classification:TextClassification",
)


class QuestionContext(Struct, frozen=True, kw_only=True):
    question: Annotated[str, Meta(min_length=1, description="What is asked.")]
    context: Annotated[str, Meta(min_length=1, description="The text that holds the answer.")]


class QuestionAnsweringParameters(Struct, frozen=True, kw_only=True):
    top_k: Annotated[int, Meta(ge=1, le=100, description="How many answers, best first.")] = 1
    doc_stride: Annotated[
        int,
        Meta(
            ge=1,
            le=4096,
            description="Tokens that neighbouring windows share, at most half of their context.",
        ),
    ] = 128
    max_answer_len: Annotated[int, Meta(ge=1, le=4096, description="Tokens.")] = 15
    max_seq_len: Annotated[
        int, Meta(ge=16, le=32768, description="Tokens of one window, question included.")
    ] = 384
    max_question_len: Annotated[int, Meta(ge=1, le=4096, description="Tokens.")] = 64
    handle_impossible_answer: Annotated[
        bool, Meta(description="Whether the empty answer competes too.")
    ] = False
    align_to_words: Annotated[
        bool, Meta(description="Widen an answer to whole words; else tokens are its ends.")
    ] = True


class Answer(Struct, frozen=True):
    """``start`` and ``end`` are character offsets into the context, end exclusive."""

    answer: str
    score: float
    start: int
    end: int


QUESTION_ANSWERING = TaskSchema(
    name="question-answering",
    model_type="nlp",
    inputs=QuestionContext,
    parameters=QuestionAnsweringParameters,
    output=Answer | list[Answer],
    example={
        "question": "Where does Ada live?",
        "context": "Ada moved from Paris to London, where she lives with her sister.",
    },
    result={"answer": "London", "score": 0.93, "start": 26, "end": 32},
    auto_class="AutoModelForQuestionAnswering",
    adapter="modeldeploy.worker.tasks.question_answering:QuestionAnswering",
)

TASKS = (TEXT_CLASSIFICATION, QUESTION_ANSWERING)
