"""A request for text while it is being written."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from modeldeploy.schema.tasks.generation import Finish
from modeldeploy.worker.generation.rules import Rules
from modeldeploy.worker.generation.sampling import Choice, Chooser, Processors, Sampling
from modeldeploy.worker.generation.writer import Decode, Writer

Sink = Callable[["Piece"], None]


@dataclass(frozen=True)
class Prompt:
    """``ids`` to go on from with at most ``new`` tokens, in ``sequences`` ways, until one of
    ``stops`` was written. ``seed`` None: every time another text. ``rules`` are the model's own."""

    ids: list[int]
    new: int
    sampling: Sampling
    sequences: int = 1
    stops: tuple[str, ...] = ()
    seed: int | None = None
    rules: Rules | None = None


@dataclass(frozen=True)
class Piece:
    """One token of the sequence ``index``, and the text that may be shown since the last one;
    ``finish`` with the last."""

    index: int
    choice: Choice
    text: str
    finish: Finish | None = None


@dataclass
class Written:
    """One whole sequence. ``pieces`` are kept where logprobs were asked for, ``prompt`` is how many
    tokens were read for it."""

    text: str
    finish: Finish
    tokens: int
    pieces: list[Piece] = field(default_factory=list)
    prompt: int = 0


class Row:
    """One sequence of one request. ``written`` is set once it has ended."""

    def __init__(
        self, prompt: Prompt, index: int, decode: Decode, ends: frozenset[int], sink: Sink | None
    ) -> None:
        self.index = index
        seed = secrets.randbits(63) if prompt.seed is None else prompt.seed
        numbers = random.Random(f"{seed}/{index}")  # noqa: S311 - dice, not secrets
        self.chooser = Chooser(prompt.sampling, numbers, prompt.ids, _processors(prompt))
        self.written: Written | None = None
        self._writer = Writer(decode, prompt.ids, prompt.stops)
        self._ends = ends
        self._new = prompt.new
        self._read = len(prompt.ids)
        self._sink = sink
        self._keeps = prompt.sampling.logprobs
        self._pieces: list[Piece] = []

    def push(self, choice: Choice) -> None:
        """Take the next token."""
        self.chooser.written.append(choice.token)
        finish: Finish | None = None
        text = ""
        if choice.token in self._ends:
            finish = "eos_token"
        else:
            text = self._writer.push(choice.token)
            if self._writer.stopped:
                finish = "stop_sequence"
            elif len(self.chooser.written) >= self._new:
                finish = "length"
        if finish:
            text += self._writer.flush()
            if self._writer.stopped:
                finish = "stop_sequence"
        self._tell(Piece(self.index, choice, text, finish))

    def _tell(self, piece: Piece) -> None:
        if self._keeps:
            self._pieces.append(piece)
        if piece.finish:
            count = len(self.chooser.written)
            self.written = Written(self._writer.text, piece.finish, count, self._pieces, self._read)
        if self._sink:
            self._sink(piece)


def _processors(prompt: Prompt) -> Processors | None:
    if prompt.rules is None:
        return None
    return prompt.rules.of(prompt.ids, prompt.new, prompt.sampling.repetition_penalty)
