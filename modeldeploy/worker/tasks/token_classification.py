"""One text in, its entities out."""

from __future__ import annotations

from typing import Any

from modeldeploy.errors import InvalidRequest
from modeldeploy.schema.tasks.tagging import Entity, TokenClassificationParameters
from modeldeploy.schema.tasks.text import Text
from modeldeploy.worker.adapter import Item, Source
from modeldeploy.worker.tasks.entities import Floats, Piece, entities, merged
from modeldeploy.worker.tasks.scores import check_numbers, softmax
from modeldeploy.worker.tasks.text_model import TextModel
from modeldeploy.worker.tasks.tokens import Encoded
from modeldeploy.worker.tasks.windows import windows

_MOST_CHARACTERS = 1_000_000


class TokenClassification(TextModel[Text, TokenClassificationParameters]):
    def prepare(self, source: Source) -> None:
        super().prepare(source)
        rust = getattr(self.tokens.tokenizer, "_tokenizer", None)
        self._knows_words = bool(getattr(rust and rust.model, "continuing_subword_prefix", None))

    def pre(self, inputs: Text, parameters: TokenClassificationParameters) -> list[Item]:
        return [Item(one, len(one)) for one in self._windows(inputs.text, parameters.stride)]

    def _windows(self, text: str, stride: int | None) -> list[Encoded]:
        window = self.tokens.window
        if stride is None or window is None:
            return [self.tokens.fitted(text, truncate=False)]
        if stride >= window - 2:
            raise InvalidRequest(f"stride: {stride} is no less than the window of {window} tokens")
        if len(text) > _MOST_CHARACTERS:
            raise InvalidRequest(f"text: it has {len(text)} characters of {_MOST_CHARACTERS}")
        return list(windows(self.tokens.encode(text), window, stride))

    def forward(self, items: list[Item]) -> list[Any]:
        rows: list[Encoded] = [item.data for item in items]
        logits = self.call(**self.tokens.pad(rows)).logits
        scores = self.tokens.unpadded(logits, [len(row) for row in rows])
        return list(zip(rows, scores, strict=True))

    def post(
        self, raws: list[Any], inputs: Text, parameters: TokenClassificationParameters
    ) -> list[Entity]:
        found: list[Entity] = []
        for encoded, logits in raws:
            check_numbers(logits)
            pieces = self._pieces(inputs.text, encoded, softmax(logits))
            join = self.tokens.tokenizer.convert_tokens_to_string
            how = parameters.aggregation_strategy
            whole = entities(pieces, how, self.config.id2label, join)
            found += [one for one in whole if not _label(one) & set(parameters.ignore_labels)]
        return merged(found) if len(raws) > 1 else found

    def _pieces(self, text: str, encoded: Encoded, scores: Floats) -> list[Piece]:
        words = self.tokens.tokenizer.convert_ids_to_tokens(encoded.ids)
        return [
            self._piece(text, encoded, at, words[at], scores[at])
            for at in range(len(encoded))
            if not encoded.special[at]
        ]

    def _piece(self, text: str, encoded: Encoded, at: int, word: str, scores: Floats) -> Piece:
        if not self.tokens.has_offsets:
            return Piece(word, scores, None, None, at, is_subword=False)
        start, end = encoded.offsets[at]
        there = text[start:end]
        if self._knows_words:
            subword = len(word) != len(there)
        else:  # a guess, and the pipeline's own: no space before it
            subword = start > 0 and " " not in text[start - 1 : start + 1]
        if encoded.ids[at] == self.tokens.tokenizer.unk_token_id:
            word, subword = there, False
        return Piece(word, scores, start, end, at, is_subword=subword)


def _label(one: Entity) -> set[str | None]:
    return {one.entity, one.entity_group} - {None}
