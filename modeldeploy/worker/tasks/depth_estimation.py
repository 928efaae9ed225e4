"""One image in, how far away each pixel is out."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from transformers.utils import is_torchvision_available

from modeldeploy.errors import UnsupportedModel
from modeldeploy.schema.tasks.vision import Depth, DepthEstimationParameters, Image
from modeldeploy.worker.adapter import Item, Source
from modeldeploy.worker.tasks import images
from modeldeploy.worker.tasks.image_model import SizedAdapter, check_planes, image_item, size_of
from modeldeploy.worker.tasks.scores import check_numbers

_SCALED_BY_TORCHVISION = {"zoedepth"}
_COPIES = 4  # of the plane of depths, while it becomes an image


class DepthEstimation(SizedAdapter[Image, DepthEstimationParameters]):
    outputs = ("predicted_depth", "field_of_view")

    def prepare(self, source: Source) -> None:
        kind = self.config.model_type
        if kind in _SCALED_BY_TORCHVISION and not is_torchvision_available():
            raise UnsupportedModel(
                f"the processor of {kind} models needs torchvision, which is not installed",
                hint="install it beside modeldeploy, or choose a DPT or Depth Anything model",
            )
        super().prepare(source)

    def pre(self, inputs: Image, parameters: DepthEstimationParameters) -> list[Item]:
        image = images.decode(inputs.image)
        check_planes(size_of(image), _COPIES)
        return [image_item(self.features(image), size_of(image))]

    def post(self, raws: list[Any], inputs: Image, parameters: DepthEstimationParameters) -> Depth:
        row, size = raws[0]
        found = self.processor.post_process_depth_estimation(row, [size])[0]
        depth = found["predicted_depth"].numpy().reshape(size)  # a line comes without its axis
        check_numbers(depth)
        return Depth(
            depth=images.png(_shown(depth)),
            predicted_depth=depth.tolist() if parameters.return_predicted_depth else None,
        )


def _shown(depth: npt.NDArray[np.float32]) -> Pillow.Image:
    """The least depth black, the largest white."""
    spread = depth.max() - depth.min()
    share = (depth - depth.min()) / spread if spread > 0 else np.zeros_like(depth)
    return Pillow.fromarray((share * 255).astype(np.uint8))
