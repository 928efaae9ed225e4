"""What the tasks on a model that reads texts share: the tokenizer, its window, batches of tokens."""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import cycle
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from modeldeploy.worker.adapter import BatchLimits, Inputs, Item, Parameters, Source
from modeldeploy.worker.compute import company, rotations
from modeldeploy.worker.compute.company import Layout, looks_far
from modeldeploy.worker.compute.graphs import AnyGraph, original
from modeldeploy.worker.compute.unpadded import NARROW, WIDE, Unpadded
from modeldeploy.worker.loading import checkpoint
from modeldeploy.worker.tasks.model import ModelAdapter, arguments
from modeldeploy.worker.tasks.tokens import Encoded, Tokens, first_position, plain

log = logging.getLogger(__name__)

# Tokens of one call, counted without padding, until it is measured how many are best.
_UNPADDED = BatchLimits(items=64, size=256, padded=False, unit="tokens")
_TRIALS = (64, 128, 256, 512, 1024, 2048)  # tokens of calls that are timed
# Tokens of the texts that they are made of: as they come, and where they are padded, of one length.
_MIXED, _ALIKE = (12, 45, 7, 80, 25, 60, 18, 100, 33, 9, 51, 72), (32,)
_LONGEST = 300  # tokens that a graph is tried with
_CAUSAL = " causal"
_WORDS: dict[Layout, str] = {
    "unpadded": "end to end, without padding",
    "padded": "padded, texts of about one length",
    "equal": "of one length: padding would change this model's results",
    "alone": "one by one: company would change this model's results",
}


class TextModel(ModelAdapter[Inputs, Parameters]):
    """A task on an encoder, or on a decoder that is read like one. ``left`` is the side of the
    padding; None: the tokenizer's own."""

    exports = True
    batch = BatchLimits(unit="tokens")
    left: ClassVar[bool | None] = None

    def prepare(self, source: Source) -> None:
        self.tokens = Tokens(checkpoint.load_tokenizer(source), self.config, left=self.left)
        self._limits = self.batch

    def max_input_length(self) -> int | None:
        return self.tokens.window

    def arrange(self, *, optimize: bool, layout: str = "") -> None:
        kind, unpadded = self._known(layout) or self._found(optimize=optimize)
        self._unpadded = unpadded
        self._layout = kind
        self.runs["batches"] = _WORDS[kind]
        self.batch = self._limits
        if unpadded is not None:
            self.model.base_model.forward = unpadded
            self.batch = _UNPADDED
        elif kind == "equal":
            self.batch = replace(self.batch, equal=True)
        elif kind == "alone":
            self.batch = replace(self.batch, items=1)

    @property
    def layout(self) -> str:
        causal = self._unpadded is not None and self._unpadded.causal
        return f"{self._layout}{_CAUSAL if causal else ''}"

    def _known(self, layout: str) -> tuple[Layout, Unpadded | None] | None:
        kind = layout.removesuffix(_CAUSAL)
        if kind not in _WORDS:
            return None
        is_unpadded = kind == "unpadded"
        return kind, self._candidate(causal=kind != layout) if is_unpadded else None

    def _found(self, *, optimize: bool) -> tuple[Layout, Unpadded | None]:
        longest = rotations.longest(self.model) or sys.maxsize
        if self.tokens.pad_id is None or longest < (self.tokens.window or sys.maxsize):
            return "alone", None
        candidates = []
        if optimize and self.device.type == "cpu" and looks_far(self.config):
            candidates = [self._candidate(causal=causal) for causal in (False, True)]
        try:
            return company.find(self.model.base_model, self._padded, candidates)
        except Exception as error:  # an encoder that cannot be called by itself
            log.info("batches are of one length: %s: %s", type(error).__name__, error)
            return "equal", None

    def _candidate(self, *, causal: bool) -> Unpadded:
        return Unpadded(self.model.base_model, first_position(self.config), causal=causal)

    def _padded(self, rows: Sequence[list[int]]) -> dict[str, Any]:
        """The encoder's own input for texts of these tokens."""
        accepted = inspect.signature(original(self.model.base_model)).parameters
        return arguments(self.tokens.pad([plain(ids) for ids in rows]), accepted, self.device)

    @property
    def graphed(self) -> Any:
        return self.model.base_model

    @property
    def holder(self) -> Any:
        return self._unpadded or self.graphed

    def run_on(self, graph: AnyGraph | None) -> None:
        super().run_on(graph)
        if self._unpadded is not None:
            self._unpadded.always = graph is not None

    @property
    def trials(self) -> tuple[int, ...]:
        return _TRIALS if self.device.type == "cpu" else ()

    def trial(self, size: int, example: list[Item]) -> None:
        kinds = cycle(_MIXED if self._unpadded is not None else _ALIKE)
        lengths: list[int] = []
        while (left := size - sum(lengths)) > 0:
            lengths.append(min(next(kinds), left, self.tokens.window or left))
        self._read(lengths)

    def weigh(self, seconds: Callable[[Callable[[], None]], float]) -> None:
        if self._unpadded is None or (self.tokens.window or NARROW) < NARROW:
            return
        narrow, wide = (seconds(partial(self._read_in_rows, width)) for width in (NARROW, WIDE))
        self._unpadded.weigh(narrow, wide)

    @property
    def weighed(self) -> float | None:
        return self._unpadded.attention if self._unpadded is not None else None

    @weighed.setter
    def weighed(self, found: float) -> None:
        if self._unpadded is not None:
            self._unpadded.attention = found

    def _read_in_rows(self, width: int) -> None:
        assert self._unpadded is not None
        with self._unpadded.rows_of(width):
            alike = [NARROW] * (WIDE // NARROW)
            self._read([*alike[1:], NARROW - 1])  # were all alike, they would not be laid out

    def _read(self, lengths: Sequence[int]) -> None:
        """A call with texts of so many tokens each."""
        with torch.inference_mode():
            self.call(**self.tokens.pad(self._texts(lengths)))

    def _texts(self, lengths: Sequence[int]) -> list[Encoded]:
        """Texts of so many tokens each, which end as the model's texts do."""
        end = self.config.get_text_config().eos_token_id
        ends = [end] if isinstance(end, int) else []
        texts = zip(company.texts(self.config, lengths), lengths, strict=True)
        return [plain([*ids, *ends][-size:]) for ids, size in texts]

    def made_up(self, *, together: bool) -> list[Any]:
        window = self.tokens.window or max(company.LENGTHS)
        texts = self._texts([min(window, size) for size in company.LENGTHS])
        is_one = together and self._layout in {"unpadded", "padded"}
        with torch.inference_mode():
            calls = [
                company.parts(self.call, self.tokens.pad(rows))
                for rows in ([texts] if is_one else [[text] for text in texts])
            ]
        return company.flat([text for call in calls for text in call])

    def exercise(self, items: list[Item]) -> None:
        equal = self._layout in {"equal", "alone"}
        with torch.inference_mode():
            for texts in _exercises(self.config, self.tokens.window):
                rows = [texts[0]] * len(texts) if equal else texts
                self._in_one_row_and_more(self.tokens.pad([plain(ids) for ids in rows]))

    def _in_one_row_and_more(self, batch: Any) -> None:
        """Call the model; on a batch without padding once for each way to lay it out."""
        if (unpadded := self._unpadded) is None:
            self.call(**batch)
            return
        unpadded.always = True
        lengths = batch["attention_mask"].sum(dim=1).tolist()
        for width in {sum(lengths), max(lengths)}:
            with unpadded.rows_of(width):
                self.call(**batch)


def _exercises(config: Any, window: int | None) -> list[list[list[int]]]:
    """Tokens of one text and of several, short and long ones."""
    most = (window or _LONGEST) - 2
    lengths = ((11, 6, 7), (5,), (_LONGEST, 192, 128), (40, 30))
    return [company.texts(config, [min(most, size) for size in group]) for group in lengths]


class SequenceClassifier(TextModel[Inputs, Parameters]):
    """A text, or a pair, gets a row of logits; an item's data is its tokens."""

    def prepare(self, source: Source) -> None:
        super().prepare(source)
        if self.config.pad_token_id is None:
            # Decoders classify the last token that is not padding, so they must know it.
            self.config.pad_token_id = self.tokens.pad_id

    def forward(self, items: list[Item]) -> list[npt.NDArray[np.float32]]:
        rows: list[Encoded] = [item.data for item in items]
        logits: Any = self.call(**self.tokens.pad(rows)).logits
        return list(logits.float().cpu().numpy())
