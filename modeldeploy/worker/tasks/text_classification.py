"""One text in, labels with scores out."""

from __future__ import annotations

from typing import Any

from modeldeploy.schema.tasks.text import Label, Text, TextClassificationParameters
from modeldeploy.worker import checkpoint
from modeldeploy.worker.tasks.base import BatchLimits, Item, Source
from modeldeploy.worker.tasks.model import ModelAdapter
from modeldeploy.worker.tasks.scores import default_function, labels
from modeldeploy.worker.tasks.tokens import Tokens


class TextClassification(ModelAdapter[Text, TextClassificationParameters]):
    def prepare(self, source: Source) -> None:
        self.tokens = Tokens(checkpoint.load_tokenizer(source), self.config)
        if self.config.pad_token_id is None:
            # Decoders classify the last token that is not padding, so they must know it.
            self.config.pad_token_id = self.tokens.pad_id
        if self.tokens.pad_id is None:
            self.batch = BatchLimits(items=1)

    def max_input_length(self) -> int | None:
        return self.tokens.window

    def pre(self, inputs: Text, parameters: TextClassificationParameters) -> list[Item]:
        encoded = self.tokens.fitted(inputs.text, truncate=parameters.truncate)
        return [Item(encoded, len(encoded))]

    def forward(self, items: list[Item]) -> list[Any]:
        logits = self.call(**self.tokens.pad([item.data for item in items])).logits
        return list(logits.float().cpu().numpy())

    def post(
        self, raws: list[Any], inputs: Text, parameters: TextClassificationParameters
    ) -> list[Label]:
        function = parameters.function_to_apply or default_function(self.config)
        return labels(raws[0], function, self.config.id2label, parameters.top_k)
