"""One image in, labelled masks of its size out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import transformers

from modeldeploy.errors import InvalidRequest, UnsupportedModel
from modeldeploy.schema.tasks.regions import ImageSegmentationParameters, Segment
from modeldeploy.schema.tasks.vision import Image
from modeldeploy.worker.adapter import Item, Source
from modeldeploy.worker.tasks import images
from modeldeploy.worker.tasks.image_model import SizedAdapter, check_planes, image_item, size_of
from modeldeploy.worker.tasks.scores import check_numbers

_CLASSES = (
    "AutoModelForImageSegmentation",
    "AutoModelForUniversalSegmentation",
    "AutoModelForInstanceSegmentation",
    "AutoModelForSemanticSegmentation",
)


class ImageSegmentation(SizedAdapter[Image, ImageSegmentationParameters]):
    """``planes`` is how many masks the model has, before any is left out."""

    outputs = ("logits", "pred_masks", "class_queries_logits", "masks_queries_logits")

    def load(self, source: Source) -> None:
        super().load(source)
        self.planes = getattr(self.config, "num_queries", None) or self.config.num_labels

    def auto_class(self, source: Source) -> str:
        """One of several, of which each knows some of the models."""
        for name in _CLASSES:
            if type(self.config) in getattr(transformers, name)._model_mapping:  # noqa: SLF001  # the pipeline asks it too
                return name
        return super().auto_class(source)

    def prepare(self, source: Source) -> None:
        super().prepare(source)
        if self.config.model_type == "oneformer":
            raise UnsupportedModel(
                "OneFormer models are not served: their processor needs torchvision and a file "
                "of another repository",
                hint="a Mask2Former model does the same subtasks",
            )

    def pre(self, inputs: Image, parameters: ImageSegmentationParameters) -> list[Item]:
        self._method(parameters.subtask)
        image = images.decode(inputs.image)
        check_planes(size_of(image), self.planes)
        return [image_item(self.features(image), size_of(image))]

    def _method(self, subtask: str | None) -> tuple[str, Any]:
        """The subtask to do, and the processor's method for it, in the order of transformers'
        pipeline.

        Raises:
            InvalidRequest: the model cannot do it.
        """
        able = {
            name: getattr(self.processor, f"post_process_{name}_segmentation", None)
            for name in ("panoptic", "instance", "semantic")
        }
        for name, method in able.items():
            if subtask in {name, None} and method is not None:
                return name, method
        raise InvalidRequest(
            f"subtask: the model cannot do {subtask} segmentation",
            hint=f"it does: {', '.join(name for name, method in able.items() if method)}",
        )

    def post(
        self, raws: list[Any], inputs: Image, parameters: ImageSegmentationParameters
    ) -> list[Segment]:
        row, size = raws[0]
        for tensor in row.values():
            check_numbers(tensor)
        subtask, method = self._method(parameters.subtask)
        if subtask == "semantic":
            return self._semantic(method(row, target_sizes=[size])[0])
        found = method(
            row,
            threshold=parameters.threshold,
            mask_threshold=parameters.mask_threshold,
            overlap_mask_area_threshold=parameters.overlap_mask_area_threshold,
            target_sizes=[size],
        )[0]
        return [
            self._segment(one["label_id"], one["score"], found["segmentation"] == one["id"])
            for one in found["segments_info"]
        ]

    def _semantic(self, labels: torch.Tensor) -> list[Segment]:
        return [self._segment(label, None, labels == label) for label in np.unique(labels).tolist()]

    def _segment(self, label: int, score: float | None, mask: torch.Tensor) -> Segment:
        name = self.config.id2label.get(label, f"LABEL_{label}")
        return Segment(name, score, images.mask_png(mask.numpy()))
