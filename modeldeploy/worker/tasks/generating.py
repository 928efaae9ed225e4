"""Batched ``generate`` with transformers' own decoding (beams, penalties), for the tasks whose
model reads something else than it writes: a text, an image.

Requests share a call where they ask for the same decoding; each row ends by itself, at its end
token, at one of its stop strings, or when nobody wants it any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from modeldeploy.worker.adapter import Item
from modeldeploy.worker.tasks.planning import Plan, writer_of
from modeldeploy.worker.tasks.scores import not_numbers

_STOP_CONTEXT = 8


@dataclass
class Written:
    """The new tokens of one row, its end token and what stands behind it left out; ``logprob``
    is the sum over them and the end token, where it was asked for."""

    ids: list[int]
    logprob: float | None = None


class Generator:
    """Runs ``generate`` for batches of items whose ``plans`` have one key."""

    def __init__(self, model: Any, tokenizer: Any, ends: frozenset[int]) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._ends = ends
        own = writer_of(model).generation_config
        pads = (own.pad_token_id, tokenizer.pad_token_id, next(iter(ends), None), 0)
        own.pad_token_id = next(one for one in pads if one is not None)

    def write(
        self,
        items: Sequence[Item],
        plans: Sequence[Plan],
        tensors: dict[str, Any],
        *,
        logprobs: bool = False,
    ) -> list[Written]:
        """One row for each of ``items``.

        Args:
            tensors: what the model reads, a row for each item.
            logprobs: whether they are wanted; without beams only.

        Raises:
            PredictionFailed: the logits are not numbers.
        """
        seed = plans[0].seed
        on = [self._model.device] if self._model.device.type == "cuda" else []
        with torch.random.fork_rng(devices=on, enabled=seed is not None):
            if seed is not None:
                torch.manual_seed(seed)
            rows = self._write(items, plans, tensors, logprobs=logprobs)
        for item, row in zip(items, rows, strict=True):
            item.written = len(row.ids)
        return rows

    def _write(
        self,
        items: Sequence[Item],
        plans: Sequence[Plan],
        tensors: dict[str, Any],
        *,
        logprobs: bool,
    ) -> list[Written]:
        watch = _Watch()
        found = self._model.generate(
            **{name: tensor.to(self._model.device) for name, tensor in tensors.items()},
            **dict(plans[0].arguments),
            **({"return_dict_in_generate": True, "output_logits": True} if logprobs else {}),
            logits_processor=LogitsProcessorList([watch]),
            stopping_criteria=StoppingCriteriaList([_Ended(self, items, plans, watch)]),
        )
        sequences = found.sequences if logprobs else found
        rows = [self._ended(row[watch.start :]) for row in sequences.tolist()]
        if not logprobs:
            return [Written(row) for row in rows]
        sums = _logprobs(found.logits, sequences[:, watch.start :])
        return [
            Written(row, float(logs[: len(row) + 1].sum()))
            for row, logs in zip(rows, sums, strict=True)
        ]

    def _ended(self, row: list[int]) -> list[int]:
        end = next((at for at, token in enumerate(row) if token in self._ends), len(row))
        return row[:end]

    def text(self, ids: list[int], *, clean_up: bool | None = None) -> str:
        """Decoded, without special tokens."""
        decoded: str = self._tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=clean_up
        )
        return decoded

    def answer(self, written: Written, plan: Plan, *, clean_up: bool | None = None) -> str:
        """The text of ``written``, up to the first of its stop strings."""
        text = self.text(written.ids, clean_up=clean_up)
        ends = [at for stop in plan.stops if (at := text.find(stop)) >= 0]
        return text[: min(ends)] if ends else text


def _logprobs(logits: Sequence[torch.Tensor], tokens: torch.Tensor) -> torch.Tensor:
    """The logprob of each of ``tokens`` (rows, steps), under ``logits`` of each step."""
    steps = torch.stack([one.float().log_softmax(-1) for one in logits], dim=1)
    return steps.gather(-1, tokens[..., None])[..., 0]


class _Watch(LogitsProcessor):  # type: ignore[misc]  # transformers is not followed by mypy
    """Changes nothing: sees with how many tokens the decoder begins (``start``), and refuses to
    choose among what are no numbers."""

    start = 0

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        self.start = self.start or input_ids.shape[1]
        if bool(scores.isnan().any()):
            raise not_numbers("logits")
        return scores


class _Ended(StoppingCriteria):  # type: ignore[misc]  # transformers is not followed by mypy
    """Ends a row at its stop strings, or when nobody wants it any more. With beams, an item has
    several rows, side by side."""

    def __init__(
        self, generator: Generator, items: Sequence[Item], plans: Sequence[Plan], watch: _Watch
    ) -> None:
        self._generator = generator
        self._items = items
        self._plans = plans
        self._watch = watch

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        beams = len(input_ids) // len(self._items)
        ended = [
            self._items[at // beams].dropped or self._stopped(self._plans[at // beams], row)
            for at, row in enumerate(input_ids)
        ]
        return torch.tensor(ended, device=input_ids.device)

    def _stopped(self, plan: Plan, row: Any) -> bool:
        if not plan.stops:
            return False
        # A token holds at least one byte, so a stop string is within this many of the last ones.
        tail = max(len(stop.encode()) for stop in plan.stops) + _STOP_CONTEXT
        text = self._generator.text(row[self._watch.start :][-tail:].tolist())
        return any(stop in text for stop in plan.stops)
