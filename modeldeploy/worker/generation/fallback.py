"""Writing with transformers' own ``generate``, for models whose cache the slab does not know.

The same rows, choices and pieces: ``generate`` only runs the model, a logits processor of ours
chooses the tokens and a stopping criterion of ours ends the rows. Requests cannot join on the way.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
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
    was streamed already, whatever the model raises is the failure of all: nobody is told anything twice.

    ``seen`` is what the model reads beside the prompts, for all sequences in order.
    """
    rows = [
        (item, Row(item.data, index, decode, ends, item.sink))
        for item in items
        for index in range(item.data.sequences)
    ]
    prompts: list[Prompt] = [item.data for item, _ in rows]
    chooser = _Chooser([row for _, row in rows], pad_id)
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
            stopping_criteria=StoppingCriteriaList([_Ended(rows, chooser.failed)]),
        )
    except BaseException as error:  # a Rust panic is no Exception
        if not any(item.sink and row.chooser.written for item, row in rows):
            raise  # the items are tried apart
        return [Failure(error)] * len(items)
    written = iter([row for _, row in rows])
    return [
        _outcome([next(written) for _ in range(item.data.sequences)], chooser) for item in items
    ]


def _outcome(rows: list[Row], chooser: _Chooser) -> list[Written] | Failure:
    failures = [chooser.failed[row] for row in rows if row in chooser.failed]
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
    """Ends each row when it is written or has failed, or when nobody wants it any more."""

    def __init__(self, rows: list[tuple[Item, Row]], failed: Collection[Row]) -> None:
        self._rows = rows
        self._failed = failed

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        ended = [
            item.dropped or row.written is not None or row in self._failed
            for item, row in self._rows
        ]
        return torch.tensor(ended, device=input_ids.device)
