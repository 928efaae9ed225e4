"""One image in, labels with scores out."""

from __future__ import annotations

from typing import Any, TypeVar

from modeldeploy.schema.tasks.text import ClassificationParameters, Label
from modeldeploy.schema.tasks.vision import Image
from modeldeploy.worker.adapter import Inputs, Item
from modeldeploy.worker.tasks import images
from modeldeploy.worker.tasks.image_model import ImageAdapter, key_of
from modeldeploy.worker.tasks.scores import default_function, labels

Asked = TypeVar("Asked", bound=ClassificationParameters)


class PictureClassifier(ImageAdapter[Inputs, Asked]):
    """An item's data are its features; its raw result is a row of logits."""

    def forward(self, items: list[Item]) -> list[Any]:
        logits = self.call(**self.stacked(item.data for item in items)).logits
        return list(logits.float().cpu().numpy())

    def post(self, raws: list[Any], inputs: Inputs, parameters: Asked) -> list[Label]:
        function = parameters.function_to_apply or default_function(self.config)
        return labels(raws[0], function, self.config.id2label, parameters.top_k)


class ImageClassification(PictureClassifier[Image, ClassificationParameters]):
    def pre(self, inputs: Image, parameters: ClassificationParameters) -> list[Item]:
        features = self.features(images.decode(inputs.image))
        return [Item(features, key=key_of(features))]
