"""One image in, labelled boxes out."""

from __future__ import annotations

from typing import Any

import torch

from modeldeploy.schema.tasks.regions import Box, Detection, ObjectDetectionParameters
from modeldeploy.schema.tasks.vision import Image
from modeldeploy.worker.adapter import Item
from modeldeploy.worker.tasks import images
from modeldeploy.worker.tasks.image_model import SizedAdapter, image_item, size_of
from modeldeploy.worker.tasks.scores import check_numbers


class ObjectDetection(SizedAdapter[Image, ObjectDetectionParameters]):
    outputs = ("logits", "pred_boxes")

    def pre(self, inputs: Image, parameters: ObjectDetectionParameters) -> list[Item]:
        image = images.decode(inputs.image)
        return [image_item(self.features(image), size_of(image))]

    def post(
        self, raws: list[Any], inputs: Image, parameters: ObjectDetectionParameters
    ) -> list[Detection]:
        row, size = raws[0]
        check_numbers(row["logits"])
        found = self.processor.post_process_object_detection(
            row, parameters.threshold, torch.tensor([size])
        )[0]
        names = self.config.id2label
        return [
            Detection(names.get(label, f"LABEL_{label}"), score, box_of(corners))
            for label, score, corners in zip(
                found["labels"].tolist(), found["scores"].tolist(), found["boxes"], strict=True
            )
        ]


def box_of(corners: torch.Tensor) -> Box:
    """Of xmin, ymin, xmax, ymax in pixels; fractions are cut off, as transformers does."""
    return Box(*corners.int().tolist())
