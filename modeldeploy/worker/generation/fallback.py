"""Writing with transformers' own ``generate``, for models whose cache the slab does not know.

The same rows, choices and pieces: ``generate`` only runs the model, a logits processor of ours
chooses the tokens and a stopping criterion of ours ends the rows. Requests cannot join on the way, but
are answered when they are written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from modeldeploy.worker.adapter import Item
from modeldeploy.worker.batching.front import Failure
from modeldeploy.worker.generation.rows import Prompt, Row, Written
from modeldeploy.worker.generation.sampling import Choice, choose
from modeldeploy.worker.generation.writer import Decode
from modeldeploy.worker.tasks.scores import not_numbers
from modeldeploy.worker.tasks.tokens import matrix

_UNWANTED = Written("", "length", 0)  # nobody waits for it any more


def write(
    model: Any,
    items: list[Item],
    decode: Decode,
    ends: frozenset[int],
    pad_id: int,
    seen: Mapping[str, torch.Tensor] | None = None,
) -> list[list[Written] | Failure]:
    """The sequences of each item, or the failure of one whose logits are not numbers. Where something
    was streamed already, whatever the model raises is the failure of all who are not answered
    yet: nobody is told anything twice.

    ``seen`` is what the model reads beside the prompts, for all sequences in order.
    """
    texts = [
        [Row(item.data, at, decode, ends, item.sink) for at in range(item.data.sequences)]
        for item in items
    ]
    prompts: list[Prompt] = [item.data for item in items for _ in range(item.data.sequences)]
    chooser = _Chooser([row for rows in texts for row in rows], pad_id)
    try:
        model.generate(
            input_ids=matrix([one.ids for one in prompts], pad_id, left=True).to(model.device),
            attention_mask=matrix([[1] * len(one.ids) for one in prompts], 0, left=True).to(
                model.device
            ),
            **{name: tensor.to(model.device) for name, tensor in (seen or {}).items()},
            do_sample=False,
            num_beams=1,
            max_new_tokens=max(one.new for one in prompts),
            pad_token_id=pad_id,
            eos_token_id=None,
            repetition_penalty=1.0,  # ours is applied by the chooser
            logits_processor=LogitsProcessorList([chooser]),
            stopping_criteria=StoppingCriteriaList([_Ended(items, texts, chooser.failed)]),
        )
    except BaseException as error:  # a Rust panic is no Exception
        told = [rows for item, rows in zip(items, texts, strict=True) if item.sink]
        if not any(row.chooser.written for rows in told for row in rows):
            raise  # the items are tried apart
        return [Failure(error)] * len(items)
    return [_outcome(rows, chooser.failed) for rows in texts]


def _outcome(rows: list[Row], failed: Mapping[Row, Failure]) -> list[Written] | Failure:
    failures = [failed[row] for row in rows if row in failed]
    if failures:
        return failures[0]
    return [row.written or _UNWANTED for row in rows]


class _Chooser(LogitsProcessor):  # type: ignore[misc]  # transformers is not followed by mypy
    """Leaves one token of each row possible: the one that we choose. ``failed`` are the rows for which
    there is none, or whose text cannot be told."""

    def __init__(self, rows: list[Row], pad_id: int) -> None:
        self.failed: dict[Row, Failure] = {}
        self._rows = rows
        self._pad_id = pad_id

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        chosen = choose(scores, [row.chooser for row in self._rows])
        tokens = [self._push(row, choice) for row, choice in zip(self._rows, chosen, strict=True)]
        forced = torch.full_like(scores, -torch.inf)
        return forced.scatter(1, torch.tensor(tokens, device=scores.device)[:, None], 0.0)

    def _push(self, row: Row, choice: Choice | None) -> int:
        if row.written or row in self.failed:
            return self._pad_id
        if choice is None:
            self.failed[row] = Failure(not_numbers("logits"))
            return self._pad_id
        try:
            row.push(choice)
        except BaseException as error:  # as above, and not the others'
            self.failed[row] = Failure(error)
        return choice.token


class _Ended(StoppingCriteria):  # type: ignore[misc]  # transformers is not followed by mypy
    """Ends each row when it is written or has failed, or when nobody wants it any more; an item all of
    whose rows have ended is settled."""

    def __init__(
        self, items: list[Item], texts: list[list[Row]], failed: Mapping[Row, Failure]
    ) -> None:
        self._texts = list(zip(items, texts, strict=True))
        self._failed = failed

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        ended = [one for item, rows in self._texts for one in self._look(item, rows)]
        return torch.tensor(ended, device=input_ids.device)

    def _look(self, item: Item, rows: list[Row]) -> list[bool]:
        ended = [row.written is not None or row in self._failed for row in rows]
        if all(ended) and item.settle and not item.dropped:
            item.settle(_outcome(rows, self._failed))
        return [item.dropped or one for one in ended]
