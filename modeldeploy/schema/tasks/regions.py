"""Tasks that say where in an image something is."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from modeldeploy.schema.tasks.base import TaskSchema
from modeldeploy.schema.tasks.media import EXAMPLE_SCENE, IMAGE_MEDIA, ImageFile
from modeldeploy.schema.tasks.text import CandidateLabels
from modeldeploy.schema.tasks.vision import Image

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


Point = Annotated[list[Coordinate], Meta(min_length=2, max_length=2, description="x, y.")]


class MaskGenerationParameters(Struct, frozen=True, kw_only=True):
    """With neither points nor boxes, a grid of points is laid over the whole image, and the masks
    that it finds are filtered."""

    input_points: (
        Annotated[
            list[Annotated[list[Point], Meta(min_length=1, max_length=16)]],
            Meta(
                min_length=1,
                max_length=64,
                description="For each object its points, as x and y in pixels of the image.",
            ),
        ]
        | None
    ) = None
    input_labels: (
        Annotated[
            list[list[Literal[0, 1]]],
            Meta(description="For each point whether it is on the object (1) or not; default: 1."),
        ]
        | None
    ) = None
    input_boxes: (
        Annotated[
            list[Annotated[list[Coordinate], Meta(min_length=4, max_length=4)]],
            Meta(
                min_length=1,
                max_length=64,
                description="For each object xmin, ymin, xmax, ymax in pixels of the image.",
            ),
        ]
        | None
    ) = None
    points_per_crop: Annotated[
        int, Meta(ge=1, le=32, description="Points of one side of the grid.")
    ] = 32
    pred_iou_thresh: Annotated[
        Share, Meta(description="The least quality of a mask, as the model judges it.")
    ] = 0.88
    stability_score_thresh: Annotated[
        Share, Meta(description="How little a mask may change with its threshold, at least.")
    ] = 0.95
    stability_score_offset: Annotated[
        float, Meta(ge=0, le=100, description="By how much that threshold is moved, in logits.")
    ] = 1.0
    mask_threshold: Annotated[
        float, Meta(ge=-100, le=100, description="The least logit of a pixel of a mask.")
    ] = 0.0
    crops_nms_thresh: Annotated[
        Share, Meta(description="The overlap of two boxes from which on the lesser is left out.")
    ] = 0.7
    top_k: Annotated[int, Meta(ge=1, le=1024, description="How many masks, best first.")] = 256


class Mask(Struct, frozen=True):
    """``score`` is the model's own estimate of the mask's quality, ``box`` its first and last
    columns and rows. For points and boxes there is the best mask of each object, in order."""

    mask: MaskImage
    score: float
    box: Box


MASK_GENERATION = TaskSchema(
    name="mask-generation",
    model_type="vision",
    inputs=Image,
    parameters=MaskGenerationParameters,
    output=list[Mask],
    many=("image", "images"),
    media=IMAGE_MEDIA,
    example={"image": EXAMPLE_SCENE, "input_points": [[[24, 34]]]},
    result=[{"mask": EXAMPLE_SCENE, "score": 0.97, "box": _SEEN["box"]}],
    auto_class="AutoModelForMaskGeneration",
    adapter="modeldeploy.worker.tasks.mask_generation:MaskGeneration",
)


class ImagePair(Struct, frozen=True, kw_only=True):
    image_0: ImageFile
    image_1: ImageFile


class KeypointMatchingParameters(Struct, frozen=True, kw_only=True):
    threshold: Annotated[Share, Meta(description="The least score of a match.")] = 0.0


class Keypoint(Struct, frozen=True):
    """A pixel of the image that was sent."""

    x: int
    y: int


class Match(Struct, frozen=True):
    keypoint_image_0: Keypoint
    keypoint_image_1: Keypoint
    score: float


KEYPOINT_MATCHING = TaskSchema(
    name="keypoint-matching",
    model_type="vision",
    inputs=ImagePair,
    parameters=KeypointMatchingParameters,
    output=list[Match],
    example={"image_0": EXAMPLE_SCENE, "image_1": EXAMPLE_SCENE},
    result=[
        {"keypoint_image_0": {"x": 14, "y": 20}, "keypoint_image_1": {"x": 14, "y": 20}, "score": 1}
    ],
    auto_class="AutoModelForKeypointMatching",
    adapter="modeldeploy.worker.tasks.keypoint_matching:KeypointMatching",
)

TASKS = (
    OBJECT_DETECTION,
    ZERO_SHOT_OBJECT_DETECTION,
    IMAGE_SEGMENTATION,
    MASK_GENERATION,
    KEYPOINT_MATCHING,
)
