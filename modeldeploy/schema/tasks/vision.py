"""Tasks whose input is an image."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from modeldeploy.schema.tasks.base import TaskSchema
from modeldeploy.schema.tasks.media import EXAMPLE_PNG, IMAGE_MEDIA, ImageFile
from modeldeploy.schema.tasks.text import FunctionToApply, Label, TopK

CandidateLabels = Annotated[
    list[Annotated[str, Meta(min_length=1, max_length=1000)]],
    Meta(min_length=1, max_length=256, description="What to look for, in words."),
]


class Image(Struct, frozen=True):
    image: ImageFile


class ImageClassificationParameters(Struct, frozen=True, kw_only=True):
    top_k: Annotated[TopK, Meta(description="How many labels to return, best first.")] = 5
    function_to_apply: FunctionToApply | None = None


IMAGE_CLASSIFICATION = TaskSchema(
    name="image-classification",
    model_type="vision",
    inputs=Image,
    parameters=ImageClassificationParameters,
    output=list[Label],
    many=("image", "images"),
    media=IMAGE_MEDIA,
    example={"image": EXAMPLE_PNG},
    result=[{"label": "3", "score": 0.91}, {"label": "8", "score": 0.05}],
    auto_class="AutoModelForImageClassification",
    adapter="modeldeploy.worker.tasks.image_classification:ImageClassification",
)


class ZeroShotImageClassificationParameters(Struct, frozen=True, kw_only=True):
    candidate_labels: CandidateLabels
    hypothesis_template: Annotated[
        str,
        Meta(
            max_length=1000,
            pattern=r"\{\}",
            description="The sentence that a label, in the place of {}, is compared in.",
        ),
    ] = "This is a photo of {}."


ZERO_SHOT_IMAGE_CLASSIFICATION = TaskSchema(
    name="zero-shot-image-classification",
    model_type="multimodal",
    inputs=Image,
    parameters=ZeroShotImageClassificationParameters,
    output=list[Label],
    many=("image", "images"),
    example={"image": EXAMPLE_PNG, "candidate_labels": ["cat", "dog"]},
    result=[{"label": "cat", "score": 0.91}, {"label": "dog", "score": 0.09}],
    auto_class="AutoModelForZeroShotImageClassification",
    adapter="modeldeploy.worker.tasks.zero_shot_image_classification:ZeroShotImageClassification",
)

TASKS = (IMAGE_CLASSIFICATION, ZERO_SHOT_IMAGE_CLASSIFICATION)
