"""Two images in, pairs of points that show the same out."""

from __future__ import annotations

from typing import Any

import torch

from modeldeploy.schema.tasks.regions import (
    ImagePair,
    Keypoint,
    KeypointMatchingParameters,
    Match,
)
from modeldeploy.worker.adapter import Item
from modeldeploy.worker.tasks import images
from modeldeploy.worker.tasks.image_model import SizedAdapter, key_of, size_of
from modeldeploy.worker.tasks.scores import check_numbers


class KeypointMatching(SizedAdapter[ImagePair, KeypointMatchingParameters]):
    outputs = ("mask", "keypoints", "matches", "matching_scores")

    def pre(self, inputs: ImagePair, parameters: KeypointMatchingParameters) -> list[Item]:
        with images.named("image_0"):
            first = images.decode(inputs.image_0).convert("RGB")
        with images.named("image_1"):
            second = images.decode(inputs.image_1).convert("RGB")
        pair = [first, second]
        # transformers' pipeline gives widths for heights here: its points are wrong for images
        # that are not square.
        features = self.features(pair)
        return [Item((features, [size_of(image) for image in pair]), key=key_of(features))]

    def post(
        self, raws: list[Any], inputs: ImagePair, parameters: KeypointMatchingParameters
    ) -> list[Match]:
        row, sizes = raws[0]
        check_numbers(row["matching_scores"])
        found = self.processor.post_process_keypoint_matching(
            row, torch.tensor([sizes]), threshold=parameters.threshold
        )[0]
        matches = [
            Match(Keypoint(*one), Keypoint(*other), score)
            for one, other, score in zip(
                found["keypoints0"].tolist(),
                found["keypoints1"].tolist(),
                found["matching_scores"].tolist(),
                strict=True,
            )
        ]
        return sorted(matches, key=lambda match: -match.score)
