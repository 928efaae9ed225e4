"""Tasks that say where in an image something is."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from modeldeploy.schema.tasks.base import TaskSchema
from modeldeploy.schema.tasks.media import EXAMPLE_SCENE, IMAGE_MEDIA
from modeldeploy.schema.tasks.vision import CandidateLabels, Image

Share = Annotated[float, Meta(ge=0, le=1)]
Coordinate = Annotated[float, Meta(ge=-1e6, le=1e6)]
MaskImage = Annotated[
    str, Meta(description="Base64 of a PNG of the image's size, white where the mask is.")
]


class Box(Struct, frozen=True):
    """Pixels of the image that was sent, from its upper left corner."""

    xmin: int
    ymin: int
    xmax: int
    ymax: int


class Detection(Struct, frozen=True):
    label: str
    score: float
    box: Box


class ObjectDetectionParameters(Struct, frozen=True, kw_only=True):
    threshold: Annotated[Share, Meta(description="The least score of an object.")] = 0.5


_SEEN = {"label": "cat", "score": 0.97, "box": {"xmin": 12, "ymin": 7, "xmax": 90, "ymax": 64}}

OBJECT_DETECTION = TaskSchema(
    name="object-detection",
    model_type="vision",
    inputs=Image,
    parameters=ObjectDetectionParameters,
    output=list[Detection],
    many=("image", "images"),
    media=IMAGE_MEDIA,
    example={"image": EXAMPLE_SCENE},
    result=[_SEEN],
    auto_class="AutoModelForObjectDetection",
    adapter="modeldeploy.worker.tasks.object_detection:ObjectDetection",
)


class ZeroShotObjectDetectionParameters(Struct, frozen=True, kw_only=True):
    candidate_labels: CandidateLabels
    threshold: Annotated[Share, Meta(description="The least score of an object.")] = 0.1
    top_k: (
        Annotated[int, Meta(ge=1, le=100_000, description="How many objects, best first.")] | None
    ) = None


ZERO_SHOT_OBJECT_DETECTION = TaskSchema(
    name="zero-shot-object-detection",
    model_type="multimodal",
    inputs=Image,
    parameters=ZeroShotObjectDetectionParameters,
    output=list[Detection],
    many=("image", "images"),
    example={"image": EXAMPLE_SCENE, "candidate_labels": ["cat", "dog"]},
    result=[_SEEN],
    auto_class="AutoModelForZeroShotObjectDetection",
    adapter="modeldeploy.worker.tasks.zero_shot_object_detection:ZeroShotObjectDetection",
)


class ImageSegmentationParameters(Struct, frozen=True, kw_only=True):
    subtask: (
        Annotated[
            Literal["panoptic", "instance", "semantic"],
            Meta(description="Default: the first of them that the model can do."),
        ]
        | None
    ) = None
    threshold: Annotated[Share, Meta(description="The least score of a segment.")] = 0.9
    mask_threshold: Annotated[
        Share, Meta(description="The least probability of a pixel of a mask.")
    ] = 0.5
    overlap_mask_area_threshold: Annotated[
        Share,
        Meta(description="The share of a mask that must be left of it to keep the segment."),
    ] = 0.5


class Segment(Struct, frozen=True):
    """Semantic segments have no score."""

    label: str
    score: float | None
    mask: MaskImage


IMAGE_SEGMENTATION = TaskSchema(
    name="image-segmentation",
    model_type="vision",
    inputs=Image,
    parameters=ImageSegmentationParameters,
    output=list[Segment],
    many=("image", "images"),
    media=IMAGE_MEDIA,
    example={"image": EXAMPLE_SCENE},
    result=[{"label": "cat", "score": 0.97, "mask": EXAMPLE_SCENE}],
    auto_class="AutoModelForImageSegmentation",
    adapter="modeldeploy.worker.tasks.image_segmentation:ImageSegmentation",
)

TASKS = (OBJECT_DETECTION, ZERO_SHOT_OBJECT_DETECTION, IMAGE_SEGMENTATION)
