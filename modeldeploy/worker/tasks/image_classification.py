"""One image in, labels with scores out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from modeldeploy.errors import InvalidRequest
from modeldeploy.schema.tasks.text import Label
from modeldeploy.schema.tasks.vision import Image, ImageClassificationParameters
from modeldeploy.worker import checkpoint
from modeldeploy.worker.failures import one_line
from modeldeploy.worker.tasks import images
from modeldeploy.worker.tasks.base import BatchLimits, Item, Source
from modeldeploy.worker.tasks.model import ModelAdapter
from modeldeploy.worker.tasks.scores import default_function, labels


class ImageClassification(ModelAdapter[Image, ImageClassificationParameters]):
    quick_pre = False
    batch = BatchLimits(items=8, size=8)

    def prepare(self, source: Source) -> None:
        self.processor = checkpoint.load_image_processor(source)

    def pre(self, inputs: Image, parameters: ImageClassificationParameters) -> list[Item]:
        image = images.decode(inputs.image)
        try:
            pixels = self._pixels(image)
        except Exception as error:  # processors raise what they like on shapes they do not
            raise InvalidRequest(
                f"image: the model's processor cannot take it: {one_line(error)}",
                hint="is it of the kind that the model was made for?",
            ) from error
        return [Item(pixels, key=tuple(pixels.shape))]

    def _pixels(self, image: Any) -> torch.Tensor:
        """Shape (channels, height, width)."""
        channels = getattr(self.config, "num_channels", 3)
        if channels == 1:
            grey = np.asarray(image.convert("L"))[:, :, None]
            found = self.processor(grey, return_tensors="pt", input_data_format="channels_last")
        else:
            found = self.processor(image.convert("RGB"), return_tensors="pt")
        pixels: torch.Tensor = found["pixel_values"][0]
        return pixels

    def forward(self, items: list[Item]) -> list[Any]:
        pixels = torch.stack([item.data for item in items]).to(self.model.dtype)
        logits = self.call(pixel_values=pixels).logits
        return list(logits.float().cpu().numpy())

    def post(
        self, raws: list[Any], inputs: Image, parameters: ImageClassificationParameters
    ) -> list[Label]:
        function = parameters.function_to_apply or default_function(self.config)
        return labels(raws[0], function, self.config.id2label, parameters.top_k)
