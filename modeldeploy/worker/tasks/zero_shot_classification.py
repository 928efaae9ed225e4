"""A text and labels of one's own in, how well each fits out: by a model of natural language
inference, which is asked of each label whether the text entails it."""

from __future__ import annotations

from typing import Any

import numpy as np

from modeldeploy.errors import InvalidRequest, WrongTask
from modeldeploy.schema.tasks.tagging import ZeroShotClassificationParameters
from modeldeploy.schema.tasks.text import Label, Text
from modeldeploy.worker.adapter import Item, Source
from modeldeploy.worker.tasks.scores import check_numbers, softmax
from modeldeploy.worker.tasks.text_model import SequenceClassifier


class ZeroShotClassification(SequenceClassifier[Text, ZeroShotClassificationParameters]):
    quick_pre = False

    def load(self, source: Source) -> None:
        super().load(source)
        names = {str(name).lower(): int(at) for name, at in self.config.label2id.items()}
        self._entails = next((at for name, at in names.items() if name.startswith("entail")), None)
        if self._entails is None:
            raise WrongTask(
                f"none of the model's labels ({', '.join(sorted(names)[:5])}) says that a text "
                "entails another",
                hint="zero-shot classification needs a model of natural language inference (MNLI)",
            )

    def pre(self, inputs: Text, parameters: ZeroShotClassificationParameters) -> list[Item]:
        if not inputs.text.strip():
            raise InvalidRequest("text: there is nothing in it to judge")
        rows = [
            self.tokens.fitted_pair(
                inputs.text,
                parameters.hypothesis_template.replace("{}", label),
                truncate=parameters.truncate,
                cut=0,
            )
            for label in parameters.candidate_labels
        ]
        return [Item(row, len(row)) for row in rows]

    def post(
        self, raws: list[Any], inputs: Text, parameters: ZeroShotClassificationParameters
    ) -> list[Label]:
        logits = np.stack(raws)
        check_numbers(logits)
        entails = self._entails
        assert entails is not None
        if parameters.multi_label or len(raws) == 1:
            against = -1 if entails == 0 else 0
            scores = softmax(logits[:, [against, entails]])[:, 1]
        else:
            scores = softmax(logits[:, entails])
        best = np.argsort(-scores, kind="stable")
        return [Label(parameters.candidate_labels[at], float(scores[at])) for at in best]
