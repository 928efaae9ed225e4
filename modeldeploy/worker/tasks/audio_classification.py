"""One sound in, labels with scores out."""

from __future__ import annotations

from typing import Any

from modeldeploy.schema.tasks.audio import Audio
from modeldeploy.schema.tasks.text import ClassificationParameters, Label
from modeldeploy.worker.adapter import BatchLimits, Item
from modeldeploy.worker.tasks.hearing import Features, Hearing
from modeldeploy.worker.tasks.scores import default_function, labels


class AudioClassification(Hearing[Audio, ClassificationParameters]):
    exports = True
    batch = BatchLimits(items=8, size=120, unit="seconds of sound")

    def exercise(self, items: list[Item]) -> None:
        super().exercise(items)
        waves: Features = items[0].data
        if all(one.dim() == 2 for one in waves.values()):  # of any length
            half = {name: one[:, : one.shape[1] // 2] for name, one in waves.items()}
            self.core([Item(half)] * 2)

    def pre(self, inputs: Audio, parameters: ClassificationParameters) -> list[Item]:
        samples = self.samples(inputs.audio)
        features = self.features(samples)
        return [Item(features, self.seconds(samples), self.key(features))]

    def forward(self, items: list[Item]) -> list[Any]:
        logits = self.call(**self.together([item.data for item in items])).logits
        return list(logits.float().cpu().numpy())

    def post(
        self, raws: list[Any], inputs: Audio, parameters: ClassificationParameters
    ) -> list[Label]:
        function = parameters.function_to_apply or default_function(self.config, "softmax")
        return labels(raws[0], function, self.config.id2label, parameters.top_k)
