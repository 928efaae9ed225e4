"""Tasks that read an image, mostly with a text, and answer in words."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from modeldeploy.schema.tasks.base import HuggingFace, TaskSchema
from modeldeploy.schema.tasks.generation import (
    GeneratedText,
    StreamedToken,
    TextGenerationParameters,
    Tokens,
)
from modeldeploy.schema.tasks.media import EXAMPLE_PNG, IMAGE_MEDIA, ImageFile
from modeldeploy.schema.tasks.seq2seq import Decoding, GenerateParameters
from modeldeploy.schema.tasks.vision import Image

MOST_IMAGES = 16
Question = Annotated[str, Meta(min_length=1, max_length=100_000, description="What is asked.")]
Answers = Annotated[int, Meta(ge=1, le=1000, description="How many answers at most, best first.")]


class ImageToTextParameters(Decoding, frozen=True, kw_only=True):
    generation_parameters: (
        Annotated[
            GenerateParameters,
            Meta(description="The decoding's fields once more; those beside it come first."),
        ]
        | None
    ) = None


IMAGE_TO_TEXT = TaskSchema(
    name="image-to-text",
    model_type="multimodal",
    inputs=Image,
    parameters=ImageToTextParameters,
    output=GeneratedText,
    many=("image", "images"),
    media=IMAGE_MEDIA,
    example={"image": EXAMPLE_PNG, "max_new_tokens": 20},
    result={"generated_text": "a grey square on a white wall"},
    smoke={"image": EXAMPLE_PNG, "max_new_tokens": 2, "min_length": 0, "num_beams": 1},
    auto_class="AutoModelForImageTextToText",
    adapter="modeldeploy.worker.tasks.image_to_text:ImageToText",
    hf=HuggingFace(listed=True),
)


class ImageQuestion(Struct, frozen=True, kw_only=True):
    image: ImageFile
    question: Question


class VisualAnswersParameters(Struct, frozen=True, kw_only=True):
    """A model that writes its answer gives one; ``max_new_tokens`` is for it."""

    top_k: Answers = 5
    max_new_tokens: (
        Annotated[Tokens, Meta(description="Default: the model's own, or 256.")] | None
    ) = None


class VisualAnswer(Struct, frozen=True):
    """``score`` is the answer's probability: among the model's answers, each judged by itself, or
    of the tokens that were written."""

    answer: str
    score: float


VISUAL_QUESTION_ANSWERING = TaskSchema(
    name="visual-question-answering",
    aliases=("vqa",),
    model_type="multimodal",
    inputs=ImageQuestion,
    parameters=VisualAnswersParameters,
    output=list[VisualAnswer],
    example={"image": EXAMPLE_PNG, "question": "What colour is it?"},
    result=[{"answer": "grey", "score": 0.87}, {"answer": "white", "score": 0.05}],
    auto_class="AutoModelForVisualQuestionAnswering",
    adapter="modeldeploy.worker.tasks.visual_question_answering:VisualQuestionAnswering",
)

Box = Annotated[list[float], Meta(min_length=4, max_length=4)]


class DocumentAnswersParameters(Struct, frozen=True, kw_only=True):
    """All but ``top_k``, ``max_question_len`` and ``max_new_tokens`` are for models that find the
    answer among the document's words (LayoutLM); those that read the image itself (Donut) write
    it."""

    word_boxes: (
        Annotated[
            list[str | list[str | float | list[float]]],
            Meta(
                max_length=100_000,
                description="The document's words in reading order, each with its box (left, top, "
                "right, bottom; 0 to 1000 of the page's width and height): "
                '`[["Total", [10, 20, 80, 40]], ...]`, or words and boxes by turns. '
                "Without them the words are read by Tesseract where it is installed.",
            ),
        ]
        | None
    ) = None
    lang: (
        Annotated[str, Meta(pattern=r"^[A-Za-z_+]{1,64}\Z", description="For Tesseract.")] | None
    ) = None
    top_k: Answers = 1
    doc_stride: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=4096,
                description="Tokens that neighbouring windows share; default: half a window, at "
                "most 256.",
            ),
        ]
        | None
    ) = None
    max_answer_len: Annotated[int, Meta(ge=1, le=4096, description="Tokens.")] = 15
    max_seq_len: (
        Annotated[
            int,
            Meta(
                ge=16,
                le=32768,
                description="Tokens of one window, question included; default: the model's.",
            ),
        ]
        | None
    ) = None
    max_question_len: Annotated[int, Meta(ge=1, le=4096, description="Tokens.")] = 64
    handle_impossible_answer: Annotated[
        bool, Meta(description="Whether the empty answer competes too.")
    ] = False
    max_new_tokens: (
        Annotated[Tokens, Meta(description="Default: the model's own, or 256.")] | None
    ) = None


class DocumentAnswer(Struct, frozen=True):
    """``start`` and ``end`` are indices of words, both inclusive; 0 where the model has written
    the answer."""

    answer: str
    score: float
    start: int
    end: int


DOCUMENT_QUESTION_ANSWERING = TaskSchema(
    name="document-question-answering",
    model_type="multimodal",
    inputs=ImageQuestion,
    parameters=DocumentAnswersParameters,
    output=list[DocumentAnswer],
    example={
        "image": EXAMPLE_PNG,
        "question": "What is the total?",
        "word_boxes": [
            ["Invoice", [60, 40, 210, 70]],
            ["Total", [60, 800, 150, 830]],
            ["42", [700, 800, 740, 830]],
        ],
    },
    result=[{"answer": "42", "score": 0.94, "start": 2, "end": 2}],
    auto_class="AutoModelForDocumentQuestionAnswering",
    adapter="modeldeploy.worker.tasks.document_question_answering:DocumentQuestionAnswering",
)


class TextWithImages(Struct, frozen=True, kw_only=True):
    """With a chat template the images and the text are one user's turn, images first. A text that
    says itself where they belong (with the model's image token) is taken as it stands."""

    text: Annotated[str, Meta(description="What is asked, or the prompt.")]
    image: ImageFile | None = None
    images: Annotated[list[ImageFile], Meta(max_length=MOST_IMAGES)] | None = None


class ImageConversation(Struct, frozen=True, kw_only=True):
    """What a chat template makes a prompt of; an input beside :class:`TextWithImages`, from
    dialects that know conversations. A message's content is a list of ``{"type": "text", "text"}``
    and ``{"type": "image"}``, for which ``images`` stand in order."""

    messages: list[dict[str, Any]]
    images: list[ImageFile]


class ImageTextToTextParameters(TextGenerationParameters, frozen=True, kw_only=True):
    return_full_text: Annotated[
        bool, Meta(description="Whether the text that was sent stands before the new one.")
    ] = False


IMAGE_TEXT_TO_TEXT = TaskSchema(
    name="image-text-to-text",
    abilities=frozenset({"chat"}),
    model_type="multimodal",
    inputs=TextWithImages,
    parameters=ImageTextToTextParameters,
    output=list[GeneratedText],
    example={"text": "What is in this image?", "image": EXAMPLE_PNG, "max_new_tokens": 40},
    result=[{"generated_text": "A small grey square."}],
    smoke={"text": "What is it?", "image": EXAMPLE_PNG, "max_new_tokens": 2},
    auto_class="AutoModelForImageTextToText",
    adapter="modeldeploy.worker.tasks.image_text_to_text:ImageTextToText",
    hf=HuggingFace(streamed=StreamedToken),
)

ANY_TO_ANY = TaskSchema(
    name="any-to-any",
    abilities=frozenset({"chat"}),
    model_type="multimodal",
    inputs=TextWithImages,
    parameters=ImageTextToTextParameters,
    output=list[GeneratedText],
    example=IMAGE_TEXT_TO_TEXT.example,
    result=IMAGE_TEXT_TO_TEXT.result,
    smoke=IMAGE_TEXT_TO_TEXT.smoke,
    auto_class="AutoModelForMultimodalLM",
    adapter="modeldeploy.worker.tasks.image_text_to_text:ImageTextToText",
    hf=HuggingFace(streamed=StreamedToken),
)

TASKS = (
    IMAGE_TO_TEXT,
    VISUAL_QUESTION_ANSWERING,
    DOCUMENT_QUESTION_ANSWERING,
    IMAGE_TEXT_TO_TEXT,
    ANY_TO_ANY,
)
