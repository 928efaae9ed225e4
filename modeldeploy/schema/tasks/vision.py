"""Tasks whose input is an image."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from modeldeploy.schema.tasks.base import TaskSchema
from modeldeploy.schema.tasks.text import FunctionToApply, Label, TopK

# An 8x8 grey PNG: the smallest body that shows the shape of a request and works when sent.
EXAMPLE_PNG = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAEElEQVR42mNsYIAAJgaKGAAmCACQtTEKkQAAAABJRU5ErkJggg=="


class Image(Struct, frozen=True):
    image: Annotated[
        str,
        Meta(min_length=1, description="Base64 of a PNG, JPEG, WebP, GIF, BMP or TIFF file."),
    ]


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
    media=("image/*", "application/octet-stream"),
    example={"image": EXAMPLE_PNG},
    adapter="modeldeploy.worker.tasks.image_classification:ImageClassification",
)
