"""One image and labels in words in, labelled boxes out."""

from __future__ import annotations

from typing import Any

import torch
from transformers import BatchFeature

from modeldeploy.errors import UnsupportedModel
from modeldeploy.schema.tasks.regions import Detection, ZeroShotObjectDetectionParameters
from modeldeploy.schema.tasks.vision import Image
from modeldeploy.worker.adapter import Item, Source
from modeldeploy.worker.loading import checkpoint
from modeldeploy.worker.tasks import images
from modeldeploy.worker.tasks.candidate_labels import encode_labels, text_tensors
from modeldeploy.worker.tasks.image_model import ImageAdapter, key_of, rows, size_of
from modeldeploy.worker.tasks.object_detection import box_of
from modeldeploy.worker.tasks.scores import check_numbers
from modeldeploy.worker.tasks.tokens import Tokens

_ALL_LABELS_AT_ONCE = {"owlvit", "owlv2"}
_ONE_LABEL_A_ROW = {"grounding-dino", "mm-grounding-dino"}


class ZeroShotObjectDetection(ImageAdapter[Image, ZeroShotObjectDetectionParameters]):
    """OWL-ViT embeds the image once for all labels: an item is an image with its labels. Grounding
    DINO looks at the image with a label in mind: an item is an image with one label."""

    def prepare(self, source: Source) -> None:
        kind = self.config.model_type
        if kind not in _ALL_LABELS_AT_ONCE | _ONE_LABEL_A_ROW:
            raise UnsupportedModel(
                f"{kind} models are not served: they take labels in a way of their own",
                hint="OWL-ViT, OWLv2 and Grounding DINO models are served",
            )
        super().prepare(source)
        self.tokens = Tokens(checkpoint.load_tokenizer(source), self.config)

    def max_input_length(self) -> int | None:
        return self.tokens.window

    def pre(self, inputs: Image, parameters: ZeroShotObjectDetectionParameters) -> list[Item]:
        encoded = encode_labels(self.tokens, parameters.candidate_labels)
        image = images.decode(inputs.image)
        features = self.features(image)
        if self.config.model_type in _ALL_LABELS_AT_ONCE:
            groups = [encoded]
        else:
            groups = [[label] for label in encoded]
        return [
            Item(
                (features, group, size_of(image)),
                key=(key_of(features), len(group), max(map(len, group))),
            )
            for group in groups
        ]

    def forward(self, items: list[Item]) -> list[Any]:
        texts = [label for item in items for label in item.data[1]]
        outputs = self.call(
            **self.stacked(item.data[0] for item in items), **text_tensors(self.tokens, texts)
        )
        found = rows(outputs, ("logits", "pred_boxes"), len(items))
        return [(row, item.data[2]) for row, item in zip(found, items, strict=True)]

    def post(
        self, raws: list[Any], inputs: Image, parameters: ZeroShotObjectDetectionParameters
    ) -> list[Detection]:
        per_label = [one for row, size in raws for one in self._per_label(row, size)]
        found = [
            detection
            for label, (row, size) in zip(parameters.candidate_labels, per_label, strict=True)
            for detection in self._detections(label, row, size, parameters.threshold)
        ]
        return sorted(found, key=lambda one: -one.score)[: parameters.top_k]

    def _per_label(self, row: BatchFeature, size: Any) -> list[tuple[BatchFeature, Any]]:
        """A row of outputs for each label in it."""
        if self.config.model_type in _ONE_LABEL_A_ROW:
            return [(row, size)]
        return [
            (BatchFeature({"logits": logits, "pred_boxes": row["pred_boxes"]}), size)
            for logits in row["logits"].split(1, dim=-1)
        ]

    def _detections(
        self, label: str, row: BatchFeature, size: Any, threshold: float
    ) -> list[Detection]:
        check_numbers(row["logits"].amax(-1))  # padding's own are minus infinity
        found = self.processor.post_process_object_detection(
            outputs=row, threshold=threshold, target_sizes=torch.tensor([size])
        )[0]
        return [
            Detection(label, score, box_of(corners))
            for score, corners in zip(found["scores"].tolist(), found["boxes"], strict=True)
        ]
