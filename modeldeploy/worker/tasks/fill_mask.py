"""A text with gaps in, tokens that fill them out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from modeldeploy.errors import InvalidRequest, UnsupportedModel
from modeldeploy.schema.tasks.tagging import Filled, FillMaskParameters
from modeldeploy.schema.tasks.text import Text
from modeldeploy.worker.adapter import Item, Source
from modeldeploy.worker.tasks.entities import Floats
from modeldeploy.worker.tasks.scores import check_numbers, softmax
from modeldeploy.worker.tasks.text_model import TextModel
from modeldeploy.worker.tasks.tokens import Encoded

_MOST_GAPS = 64
_COMMON = ("[MASK]", "<mask>")


@dataclass
class Gaps:
    """A text's tokens, which of them are gaps, and what may fill them (None: anything)."""

    encoded: Encoded
    places: list[int]
    targets: list[int] | None


class FillMask(TextModel[Text, FillMaskParameters]):
    # Every place of the padded batch gets a vocabulary of logits: larger calls would take gigabytes.
    trials = ()

    def prepare(self, source: Source) -> None:
        super().prepare(source)
        self._mask = self.tokens.tokenizer.mask_token
        if self._mask is None:
            raise UnsupportedModel("its tokenizer has no mask token, so no text can have a gap")

    def pre(self, inputs: Text, parameters: FillMaskParameters) -> list[Item]:
        targets = self._targets(parameters)
        text = inputs.text
        for common in _COMMON:
            if self._mask not in text:
                text = text.replace(common, self._mask)
        encoded = self.tokens.fitted(text, truncate=False)
        gap = self.tokens.tokenizer.mask_token_id
        places = [at for at, one in enumerate(encoded.ids) if one == gap]
        if not places:
            raise InvalidRequest(f"text: there is no {self._mask} in it to fill")
        if len(places) > _MOST_GAPS:
            raise InvalidRequest(f"text: it has {len(places)} gaps, the limit is {_MOST_GAPS}")
        return [Item(Gaps(encoded, places, targets), len(encoded))]

    def _targets(self, parameters: FillMaskParameters) -> list[int] | None:
        """The ids of the tokens to choose among; a target of several tokens stands for its first."""
        if parameters.targets is None:
            return None
        targets = parameters.targets
        vocabulary = self.tokens.tokenizer.get_vocab()
        ids: dict[int, None] = {}
        for target in [targets] if isinstance(targets, str) else targets:
            known = vocabulary.get(target)
            pieces = [known] if known is not None else self.tokens.encode_bare(target).ids[:1]
            if not pieces:
                raise InvalidRequest(f"targets: {target!r} is no token of this model")
            ids[pieces[0]] = None
        return list(ids)

    def forward(self, items: list[Item]) -> list[Any]:
        gaps: list[Gaps] = [item.data for item in items]
        logits = self.call(**self.tokens.pad([one.encoded for one in gaps])).logits
        shift = [logits.shape[1] - len(one.encoded) if self.tokens.pads_left else 0 for one in gaps]
        return [
            (one, logits[row, [shift[row] + at for at in one.places]].float().cpu().numpy())
            for row, one in enumerate(gaps)
        ]

    def post(
        self, raws: list[Any], inputs: Text, parameters: FillMaskParameters
    ) -> list[Filled] | list[list[Filled]]:
        gaps, logits = raws[0]
        check_numbers(logits)
        found = [
            self._fill(gaps, place, softmax(logits[at]), parameters.top_k)
            for at, place in enumerate(gaps.places)
        ]
        return found[0] if len(found) == 1 else found

    def _fill(self, gaps: Gaps, place: int, scores: Floats, top_k: int) -> list[Filled]:
        among = np.arange(len(scores)) if gaps.targets is None else np.array(gaps.targets)
        best = among[np.argsort(-scores[among], kind="stable")[:top_k]]
        return [self._filled(gaps, place, int(token), float(scores[token])) for token in best]

    def _filled(self, gaps: Gaps, place: int, token: int, score: float) -> Filled:
        tokenizer, ids = self.tokens.tokenizer, list(gaps.encoded.ids)
        ids[place] = token
        alone = len(gaps.places) == 1  # other gaps would vanish with the special tokens
        return Filled(
            sequence=tokenizer.decode(ids, skip_special_tokens=alone),
            score=score,
            token=token,
            token_str=tokenizer.decode([token]),
        )
