"""A query and texts in, the texts by how well they answer it out (cross-encoders)."""

from __future__ import annotations

from typing import Any

import numpy as np

from modeldeploy.errors import WrongTask
from modeldeploy.schema.tasks.embeddings import QueryTexts, Ranked, TextRankingParameters
from modeldeploy.worker.adapter import Item, Source
from modeldeploy.worker.tasks.scores import check_numbers, sigmoid
from modeldeploy.worker.tasks.text_model import SequenceClassifier


class TextRanking(SequenceClassifier[QueryTexts, TextRankingParameters]):
    quick_pre = False

    def load(self, source: Source) -> None:
        super().load(source)
        if self.config.num_labels != 1:
            raise WrongTask(
                f"the model has {self.config.num_labels} labels; one that ranks has a single score",
                hint="deploy it with --task text-classification",
            )

    def prepare(self, source: Source) -> None:
        super().prepare(source)
        self._squeezes = not self._own_activation().endswith("Identity")

    def _own_activation(self) -> str:
        """The class that sentence-transformers would apply by default, by its name alone."""
        own = getattr(self.config, "sentence_transformers", None) or {}
        return str(own.get("activation_fn", "Sigmoid") if isinstance(own, dict) else "Sigmoid")

    def pre(self, inputs: QueryTexts, parameters: TextRankingParameters) -> list[Item]:
        rows = [
            self.tokens.fitted_pair(inputs.query, text, truncate=parameters.truncate)
            for text in inputs.texts
        ]
        return [Item(row, len(row)) for row in rows]

    def post(
        self, raws: list[Any], inputs: QueryTexts, parameters: TextRankingParameters
    ) -> list[Ranked]:
        logits = np.stack(raws)[:, 0]
        check_numbers(logits)
        raw = parameters.raw_scores or not self._squeezes
        scores = logits if raw else sigmoid(logits)
        best = np.argsort(-logits, kind="stable")[: parameters.top_k]
        return [
            Ranked(int(at), float(scores[at]), inputs.texts[at] if parameters.return_text else None)
            for at in best
        ]
