"""Tasks whose input is an image."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from modeldeploy.schema.tasks.base import TaskSchema
from modeldeploy.schema.tasks.media import EXAMPLE_PNG, IMAGE_MEDIA, ImageFile
from modeldeploy.schema.tasks.text import FunctionToApply, Label, TopK


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

TASKS = (IMAGE_CLASSIFICATION,)
