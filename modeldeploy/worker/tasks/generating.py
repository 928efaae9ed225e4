"""Batched ``generate`` with transformers' own decoding (beams, penalties), for the tasks whose
model reads something else than it writes: a text, an image.

Requests share a call where they ask for the same decoding; each row ends by itself, at its end
token, at one of its stop strings, or when nobody wants it any more.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from modeldeploy.errors import InputTooLong, InvalidRequest, PredictionFailed
from modeldeploy.schema.tasks.seq2seq import Decoding, GenerateParameters
from modeldeploy.worker.tasks.base import Item

# What transformers 4 documented for summarization, translation and text2text-generation.
NEW_TOKENS = 256
BEAMS = 4
_COLDEST = 1e-3  # below it, and at 0, the likeliest token is taken
_STOP_CONTEXT = 8
_PASSED_ON = ("early_stopping", "length_penalty", "no_repeat_ngram_size", "repetition_penalty")
_STEERING = ("temperature", "top_k", "top_p")


@dataclass(frozen=True)
class Plan:
    """One request's decoding: what ``generate`` is told beside the tensors, and what is ours."""

    arguments: tuple[tuple[str, Any], ...]
    stops: tuple[str, ...] = ()
    seed: int | None = None

    @property
    def key(self) -> Any:
        """Equal for requests that may share a call; seeded ones run alone, as company would
        change their random numbers."""
        return self.arguments, object() if self.seed is not None else None

    def get(self, name: str) -> Any:
        return dict(self.arguments).get(name)

    @property
    def width(self) -> int:
        """Rows that it takes of the decoder."""
        return int(self.get("num_beams") or 1)

    def also(self, **more: Any) -> Plan:
        """With more arguments of ``generate``."""
        merged = {**dict(self.arguments), **more}
        return replace(self, arguments=tuple(sorted(merged.items())))


@dataclass
class Written:
    """The new tokens of one row, its end token and what stands behind it left out; ``logprob``
    is the sum over them and the end token, where it was asked for."""

    ids: list[int]
    logprob: float | None = None


class Planner:
    """Decodings on one model.

    What the model's ``generation_config`` says of lengths is moved here, so that ``generate`` is
    always told new tokens. ``beams`` is for a model that says nothing of them.
    """

    def __init__(self, model: Any, beams: int = 1) -> None:
        own = copy.deepcopy(model.generation_config)
        self._own = {name: getattr(own, name, None) for name in Decoding.__struct_fields__}
        own.max_length = own.max_new_tokens = own.min_length = own.min_new_tokens = None
        model.generation_config = own
        self._beams = beams
        self._positions = _positions(model.config)
        ends = own.eos_token_id
        self.ends = frozenset(ends if isinstance(ends, list) else [] if ends is None else [ends])

    def plan(
        self,
        how: Decoding,
        more: GenerateParameters | None = None,
        task: dict[str, Any] | None = None,
        start: int = 1,
    ) -> Plan:
        """
        Args:
            more: what stands for fields that ``how`` leaves out.
            task: what the model's config says of the task (``task_specific_params``).
            start: tokens that the decoder begins with.

        Raises:
            InvalidRequest: the fields contradict each other. InputTooLong: the model's positions
                do not suffice.
        """
        asked = {
            name: getattr(more, name) if more and getattr(how, name) is None else getattr(how, name)
            for name in Decoding.__struct_fields__
        }
        own = {**self._own, **(task or {})}
        new = self._most(asked, own, start)
        arguments: dict[str, Any] = {"max_new_tokens": new}
        if least := _least(asked, own, start, new):
            arguments["min_new_tokens"] = least
        for name in _PASSED_ON:
            value = own[name] if asked[name] is None else asked[name]
            if value is not None:
                arguments[name] = value
        arguments |= self._sampling(asked, own)
        stops = asked["stop"] or ()
        return Plan(
            tuple(sorted(arguments.items())),
            (stops,) if isinstance(stops, str) else tuple(stops),
            asked["seed"] if arguments["do_sample"] else None,
        )

    def _most(self, asked: dict[str, Any], own: dict[str, Any], start: int) -> int:
        length = asked["max_length"]
        if length is not None and length <= start:
            raise InvalidRequest(
                f"max_length is {length}, and the decoder begins with {start} already",
                hint="raise it, or give max_new_tokens",
            )
        limits = [asked["max_new_tokens"], None if length is None else length - start]
        given = min((limit for limit in limits if limit is not None), default=None)
        room = None if self._positions is None else self._positions - start
        if given is None:
            found = own["max_new_tokens"] or (own["max_length"] or 0) - start
            found = found if found > 0 else NEW_TOKENS
            return int(found if room is None else min(found, room))
        if room is not None and given > room:
            raise InputTooLong(
                f"{given} new tokens are asked for, the model's decoder has room for {room}",
                hint=f"ask for at most {room}",
            )
        return int(given)

    def _sampling(self, asked: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
        sample = asked["do_sample"]
        if sample is None:
            sample = any(asked[name] is not None for name in _STEERING) or bool(own["do_sample"])
        if asked["temperature"] is not None and asked["temperature"] < _COLDEST:
            sample = False
        beams = asked["num_beams"] or own["num_beams"] or (1 if sample else self._beams)
        found: dict[str, Any] = {"do_sample": sample, "num_beams": beams}
        if sample:
            found |= {name: asked[name] for name in _STEERING if asked[name] is not None}
        return found


def _least(asked: dict[str, Any], own: dict[str, Any], start: int, new: int) -> int:
    length = asked["min_length"]
    limits = [asked["min_new_tokens"], None if length is None else length - start]
    given = max((limit for limit in limits if limit is not None), default=None)
    if given is None:
        found = own["min_new_tokens"] or (own["min_length"] or 0) - start
        return min(max(found, 0), new)
    if given > new:
        raise InvalidRequest(
            f"min_length: at least {given} new tokens are asked for, and at most {new}",
            hint="lower min_length, or raise max_length or max_new_tokens",
        )
    return max(int(given), 0)


def _positions(config: Any) -> int | None:
    """Tokens that the decoder has positions for; None: no limit."""
    text = config.get_text_config(decoder=True)
    if hasattr(text, "relative_attention_num_buckets"):
        return None  # T5's n_positions is the length it was trained with
    for name in ("max_position_embeddings", "n_positions"):
        found = getattr(text, name, None)
        if isinstance(found, int) and found > 0:
            return found
    return None


class Generator:
    """Runs ``generate`` for batches of items whose ``plans`` have one key."""

    def __init__(self, model: Any, tokenizer: Any, ends: frozenset[int]) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._ends = ends
        own = model.generation_config
        pads = (own.pad_token_id, tokenizer.pad_token_id, next(iter(ends), None), 0)
        self._pad_id = next(one for one in pads if one is not None)

    def write(
        self,
        items: Sequence[Item],
        plans: Sequence[Plan],
        tensors: dict[str, Any],
        *,
        start: int = 1,
        logprobs: bool = False,
    ) -> list[Written]:
        """One row for each of ``items``.

        Args:
            tensors: what the model reads, a row for each item.
            start: tokens that the decoder begins with.
            logprobs: whether they are wanted; without beams only.

        Raises:
            PredictionFailed: the logits are not numbers.
        """
        seed = plans[0].seed
        if seed is None:
            return self._write(items, plans, tensors, start, logprobs=logprobs)
        on = [self._model.device] if self._model.device.type == "cuda" else []
        with torch.random.fork_rng(devices=on):
            torch.manual_seed(seed)
            return self._write(items, plans, tensors, start, logprobs=logprobs)

    def _write(
        self,
        items: Sequence[Item],
        plans: Sequence[Plan],
        tensors: dict[str, Any],
        start: int,
        *,
        logprobs: bool,
    ) -> list[Written]:
        found = self._model.generate(
            **{name: tensor.to(self._model.device) for name, tensor in tensors.items()},
            **dict(plans[0].arguments),
            **({"return_dict_in_generate": True, "output_logits": True} if logprobs else {}),
            pad_token_id=self._pad_id,
            logits_processor=LogitsProcessorList([_Numbers()]),
            stopping_criteria=StoppingCriteriaList([_Ended(self, items, plans, start)]),
        )
        sequences = found.sequences if logprobs else found
        rows = [self._ended(row[start:]) for row in sequences.tolist()]
        if not logprobs:
            return [Written(row) for row in rows]
        sums = _logprobs(found.logits, sequences[:, -len(found.logits) :])
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


class _Numbers(LogitsProcessor):  # type: ignore[misc]  # transformers is not followed by mypy
    """Changes nothing: refuses to choose among what are no numbers."""

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        if bool(scores.isnan().any()):
            raise PredictionFailed(
                "the model's logits are not numbers for this input",
                hint="a wider dtype may help: --dtype float32",
            )
        return scores


class _Ended(StoppingCriteria):  # type: ignore[misc]  # transformers is not followed by mypy
    """Ends a row at its stop strings, or when nobody wants it any more. With beams, an item has
    several rows, side by side."""

    def __init__(
        self, generator: Generator, items: Sequence[Item], plans: Sequence[Plan], start: int
    ) -> None:
        self._generator = generator
        self._items = items
        self._plans = plans
        self._start = start

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
        text = self._generator.text(row[self._start :][-tail:].tolist())
        return any(stop in text for stop in plan.stops)
