"""Tasks whose input is an image."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from modeldeploy.schema.tasks.base import HuggingFace, TaskSchema
from modeldeploy.schema.tasks.media import (
    EXAMPLE_CLIP,
    EXAMPLE_DIGIT,
    EXAMPLE_SCENE,
    IMAGE_MEDIA,
    VIDEO_MEDIA,
    ImageFile,
    VideoFile,
)
from modeldeploy.schema.tasks.text import CandidateLabels, ClassificationParameters, Label


class Image(Struct, frozen=True):
    image: ImageFile


IMAGE_CLASSIFICATION = TaskSchema(
    name="image-classification",
    model_type="vision",
    inputs=Image,
    parameters=ClassificationParameters,
    output=list[Label],
    many=("image", "images"),
    media=IMAGE_MEDIA,
    example={"image": EXAMPLE_DIGIT},
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
    example={"image": EXAMPLE_SCENE, "candidate_labels": ["cat", "dog"]},
    result=[{"label": "cat", "score": 0.91}, {"label": "dog", "score": 0.09}],
    auto_class="AutoModelForZeroShotImageClassification",
    adapter="modeldeploy.worker.tasks.zero_shot_image_classification:ZeroShotImageClassification",
)


class DepthEstimationParameters(Struct, frozen=True, kw_only=True):
    return_predicted_depth: Annotated[
        bool,
        Meta(description="Whether to send the depths as numbers too: megabytes for a photograph."),
    ] = False


class Depth(Struct, frozen=True, kw_only=True):
    """Both are of the image's size: ``depth`` in shades of grey, from the least depth in black to
    the largest in white, ``predicted_depth`` in the model's unit, row by row."""

    depth: ImageFile
    predicted_depth: list[list[float]] | None = None


DEPTH_ESTIMATION = TaskSchema(
    name="depth-estimation",
    model_type="vision",
    inputs=Image,
    parameters=DepthEstimationParameters,
    output=Depth,
    many=("image", "images"),
    media=IMAGE_MEDIA,
    example={"image": EXAMPLE_SCENE},
    result={"depth": EXAMPLE_SCENE, "predicted_depth": None},
    auto_class="AutoModelForDepthEstimation",
    adapter="modeldeploy.worker.tasks.depth_estimation:DepthEstimation",
)


class ImageFeatureExtractionParameters(Struct, frozen=True, kw_only=True):
    pool: Annotated[
        bool, Meta(description="One vector for the image, where the model has a pooler.")
    ] = False


IMAGE_FEATURE_EXTRACTION = TaskSchema(
    name="image-feature-extraction",
    model_type="vision",
    inputs=Image,
    parameters=ImageFeatureExtractionParameters,
    output=Annotated[
        list[Any], Meta(description="A vector for each patch, or one; planes from a ConvNet.")
    ],
    many=("image", "images"),
    media=IMAGE_MEDIA,
    example={"image": EXAMPLE_SCENE},
    result=[[0.12, -0.53, 0.07], [0.31, 0.02, -0.44]],
    auto_class="AutoModel",
    hf=HuggingFace(listed=True),
    adapter="modeldeploy.worker.tasks.image_feature_extraction:ImageFeatureExtraction",
)


Frames = Annotated[
    list[ImageFile], Meta(min_length=1, max_length=1024, description="The frames, in order.")
]


class Video(Struct, frozen=True):
    video: VideoFile | Frames


class VideoClassificationParameters(ClassificationParameters, frozen=True, kw_only=True):
    """The model sees as many frames as it was made for: spread evenly over the whole video (some
    of them twice if it has fewer), or every ``frame_sampling_rate``-th from its beginning."""

    num_frames: (
        Annotated[
            int,
            Meta(ge=1, le=1024, description="Frames to look at, where the model leaves a choice."),
        ]
        | None
    ) = None
    frame_sampling_rate: (
        Annotated[
            int,
            Meta(ge=1, le=1024, description="Take every frame of so many, from the first on."),
        ]
        | None
    ) = None


VIDEO_CLASSIFICATION = TaskSchema(
    name="video-classification",
    model_type="vision",
    inputs=Video,
    parameters=VideoClassificationParameters,
    output=list[Label],
    many=("video", "videos"),
    media=VIDEO_MEDIA,
    example={"video": EXAMPLE_CLIP},
    result=[{"label": "pushing a box", "score": 0.83}],
    auto_class="AutoModelForVideoClassification",
    adapter="modeldeploy.worker.tasks.video_classification:VideoClassification",
)

TASKS = (
    IMAGE_CLASSIFICATION,
    ZERO_SHOT_IMAGE_CLASSIFICATION,
    DEPTH_ESTIMATION,
    IMAGE_FEATURE_EXTRACTION,
    VIDEO_CLASSIFICATION,
)
