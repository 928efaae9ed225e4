"""What the tasks on images share: the processor, batches of its tensors, outputs row by row."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from transformers import BatchFeature

from modeldeploy.errors import InputTooLong, InvalidRequest
from modeldeploy.worker.adapter import BatchLimits, Inputs, Item, Parameters, Source
from modeldeploy.worker.failures import one_line
from modeldeploy.worker.loading import processors
from modeldeploy.worker.tasks.model import ModelAdapter

Features = dict[str, torch.Tensor]
Size = tuple[int, int]  # height, width

_TRIALS = (1, 2, 4, 8)  # images of calls that are timed
# What the planes that are scaled up to an image's own size may take, in bytes.
_PLANES = 4 * 1024**3


class ImageAdapter(ModelAdapter[Inputs, Parameters]):
    """A task on a model that takes images. ``processor`` is transformers' own; its ``post_process``
    methods make results of :meth:`rows`."""

    exports = True
    quick_pre = False
    batch = BatchLimits(items=8, size=8)

    @property
    def trials(self) -> tuple[int, ...]:
        return _TRIALS if self.device.type == "cpu" else ()

    def trial(self, size: int, example: list[Item]) -> None:
        with torch.inference_mode():
            self.forward(example[:1] * size)

    def prepare(self, source: Source) -> None:
        self.processor = processors.load_image_processor(source)

    def features(self, image: Any) -> Features:
        """What the processor makes of an image (or of what else it takes), without the batch's
        axis.

        Raises:
            InvalidRequest: it cannot take it.
        """
        try:
            found = self._processed(image)
        except Exception as error:  # processors raise what they like on shapes they do not
            raise InvalidRequest(
                f"image: the model's processor cannot take it: {one_line(error)}",
                hint="is it of the kind that the model was made for?",
            ) from error
        return {name: value[0] for name, value in found.items() if isinstance(value, torch.Tensor)}

    def _processed(self, image: Any) -> Any:
        if not isinstance(image, Image.Image):
            return self.processor(image, return_tensors="pt")
        if getattr(self.config, "num_channels", 3) != 1:
            return self.processor(image.convert("RGB"), return_tensors="pt")
        grey = np.asarray(image.convert("L"))[:, :, None]
        return self.processor(grey, return_tensors="pt", input_data_format="channels_last")

    def stacked(self, rows: Iterable[Features]) -> Features:
        """Features of equal shapes as one batch, in the model's dtype."""
        given = list(rows)
        tensors = {name: torch.stack([row[name] for row in given]) for name in given[0]}
        return {
            name: tensor.to(self.model.dtype) if tensor.is_floating_point() else tensor
            for name, tensor in tensors.items()
        }


class SizedAdapter(ImageAdapter[Inputs, Parameters]):
    """One whose items are features and a size (or sizes), and whose raw results are those of
    ``outputs`` that the model has (see :func:`rows`) with that size."""

    outputs: ClassVar[tuple[str, ...]]

    def forward(self, items: list[Item]) -> list[Any]:
        found = self.call(**self.stacked(item.data[0] for item in items))
        return [
            (row, item.data[1])
            for row, item in zip(rows(found, self.outputs, len(items)), items, strict=True)
        ]


def key_of(features: Features) -> Hashable:
    """Equal for what may be stacked."""
    return tuple((name, tuple(value.shape)) for name, value in sorted(features.items()))


def image_item(features: Features, size: Size) -> Item:
    """An item whose data are the features and the size of the image they were made of."""
    return Item((features, size), key=key_of(features))


def rows(outputs: Any, names: Iterable[str], count: int) -> list[BatchFeature]:
    """Those of the ``names`` that the outputs have, a batch of one for each of ``count`` rows, in
    float32 on the CPU, as ``post_process`` methods take them."""
    found = {
        name: value.float() if value.is_floating_point() else value
        for name in names
        if isinstance(value := outputs.get(name), torch.Tensor)
    }
    tensors = {name: value.cpu() for name, value in found.items()}
    return [
        BatchFeature({name: value[at : at + 1] for name, value in tensors.items()})
        for at in range(count)
    ]


def size_of(image: Image.Image) -> Size:
    return image.height, image.width


def check_planes(size: Size, planes: int) -> None:
    """Refuse to scale up what would not fit into memory.

    Raises:
        InputTooLong: ``planes`` of float32 at that size are too much.
    """
    height, width = size
    if planes * height * width * 4 > _PLANES:
        most = _PLANES // (planes * 4)
        raise InputTooLong(
            f"image: {width} x {height} pixels are too many for this model's {planes} masks; "
            f"the limit is {most}",
            hint="scale it down",
        )
