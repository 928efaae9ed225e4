"""One video in, labels with scores out."""

from __future__ import annotations

import numpy as np

from modeldeploy.errors import InvalidRequest, UnsupportedModel
from modeldeploy.schema.tasks.vision import Video, VideoClassificationParameters
from modeldeploy.worker.adapter import BatchLimits, Item, Source
from modeldeploy.worker.tasks import images, videos
from modeldeploy.worker.tasks.image_classification import PictureClassifier
from modeldeploy.worker.tasks.image_model import key_of

_SERVED = {"videomae", "vivit", "timesformer"}
_ANY_NUMBER_OF_FRAMES = {"timesformer"}


class VideoClassification(PictureClassifier[Video, VideoClassificationParameters]):
    batch = BatchLimits(items=4, size=4)

    def prepare(self, source: Source) -> None:
        if self.config.model_type not in _SERVED:
            raise UnsupportedModel(
                f"the video processor of {self.config.model_type} models needs torchvision, "
                "which modeldeploy does without",
                hint="VideoMAE, ViViT and TimeSformer models are served",
            )
        super().prepare(source)

    def pre(self, inputs: Video, parameters: VideoClassificationParameters) -> list[Item]:
        wanted = self._frames(parameters.num_frames)
        rate = parameters.frame_sampling_rate
        frames = videos.decode(inputs.video, lambda count: places(count, wanted, rate))
        with images.named("video"):
            features = self.features(frames)
        return [Item(features, key=key_of(features))]

    def _frames(self, asked: int | None) -> int:
        own: int = self.config.num_frames
        if asked in {None, own} or self.config.model_type in _ANY_NUMBER_OF_FRAMES:
            return asked or own
        raise InvalidRequest(
            f"num_frames: this model takes {own} frames, no more and no fewer", hint="leave it out"
        )


def places(count: int, wanted: int, rate: int | None) -> list[int]:
    """Which of ``count`` frames to look at: spread evenly, as transformers' video processors do it,
    or every ``rate``-th, as its pipeline does.

    Raises:
        InvalidRequest: at that rate there are not enough.
    """
    if rate is None:
        return [at * count // wanted for at in range(wanted)]
    found: list[int] = np.linspace(0, wanted * rate - 1, wanted, dtype=np.int64).tolist()
    if found[-1] >= count:
        raise InvalidRequest(
            f"frame_sampling_rate: the video has {count} frames, {wanted} at a rate of {rate} "
            f"need {found[-1] + 1}",
            hint="leave it out to have the frames spread over the video",
        )
    return found
