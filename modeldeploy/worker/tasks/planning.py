"""What one request asks of ``generate``: the fields of a decoding, the model's own settings, and
what fits its positions."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

from transformers import GenerationMixin

from modeldeploy.errors import InputTooLong, InvalidRequest
from modeldeploy.schema.tasks.generation import is_cold
from modeldeploy.schema.tasks.seq2seq import Decoding, GenerateParameters
from modeldeploy.worker.tasks.tokens import positions_of

# What transformers 4 documented for summarization, translation and text2text-generation.
NEW_TOKENS = 256
BEAMS = 4
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


class Planner:
    """Decodings on one model.

    What the model's ``generation_config`` says of lengths is moved here, so that ``generate`` is
    always told new tokens. ``beams`` is for a model that says nothing of them.
    """

    def __init__(self, model: Any, beams: int = 1) -> None:
        writer = writer_of(model)
        own = copy.deepcopy(writer.generation_config)
        self._own = {name: getattr(own, name, None) for name in Decoding.__struct_fields__}
        own.max_length = own.max_new_tokens = own.min_length = own.min_new_tokens = None
        writer.generation_config = own
        self._beams = beams
        self._positions = positions_of(model.config.get_text_config(decoder=True))
        ends = own.eos_token_id
        self.ends = frozenset(ends if isinstance(ends, list) else [] if ends is None else [ends])
        if (
            writer is not model
            and (sep := getattr(writer.config, "sep_token_id", None)) is not None
        ):
            self.ends |= {sep}  # which BLIP's own generate takes as the end

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
        if is_cold(asked["temperature"]):
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


def writer_of(model: Any) -> Any:
    """The part of the model whose ``generate`` runs in the end, and whose settings hold: BLIP's
    own ``generate`` asks its decoder's."""
    if type(model).generate is GenerationMixin.generate:
        return model
    parts = (getattr(model, name, None) for name in ("text_decoder", "language_model"))
    return next((one for one in parts if getattr(one, "generation_config", None)), model)
