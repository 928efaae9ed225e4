"""One text in, labels with scores out."""

from __future__ import annotations

from typing import Any

from modeldeploy.schema.tasks.text import Label, Text, TextClassificationParameters
from modeldeploy.worker.adapter import Item
from modeldeploy.worker.tasks.scores import default_function, labels
from modeldeploy.worker.tasks.text_model import SequenceClassifier


class TextClassification(SequenceClassifier[Text, TextClassificationParameters]):
    def pre(self, inputs: Text, parameters: TextClassificationParameters) -> list[Item]:
        encoded = self.tokens.fitted(inputs.text, truncate=parameters.truncate)
        return [Item(encoded, len(encoded))]

    def post(
        self, raws: list[Any], inputs: Text, parameters: TextClassificationParameters
    ) -> list[Label]:
        function = parameters.function_to_apply or default_function(self.config)
        return labels(raws[0], function, self.config.id2label, parameters.top_k)
