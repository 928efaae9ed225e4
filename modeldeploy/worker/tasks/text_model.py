"""What the tasks on a model that reads texts share: the tokenizer, its window, batches of tokens."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from modeldeploy.worker.adapter import BatchLimits, Inputs, Item, Parameters, Source
from modeldeploy.worker.compute import company
from modeldeploy.worker.compute.company import Layout, looks_far
from modeldeploy.worker.compute.unpadded import Unpadded
from modeldeploy.worker.loading import checkpoint
from modeldeploy.worker.tasks.model import ModelAdapter, arguments
from modeldeploy.worker.tasks.tokens import Encoded, Tokens, first_position, plain

log = logging.getLogger(__name__)

# Tokens of one call, counted without padding: more of them are hardly faster for each of them.
_UNPADDED = BatchLimits(items=64, size=256, padded=False)
_WORDS: dict[Layout, str] = {
    "unpadded": "end to end, without padding",
    "padded": "padded, texts of about one length",
    "equal": "of one length: padding would change this model's results",
    "alone": "one by one: company would change this model's results",
}


class TextModel(ModelAdapter[Inputs, Parameters]):
    """A task on an encoder, or on a decoder that is read like one. ``left`` is the side of the
    padding; None: the tokenizer's own."""

    left: ClassVar[bool | None] = None

    def prepare(self, source: Source) -> None:
        self.tokens = Tokens(checkpoint.load_tokenizer(source), self.config, left=self.left)

    def max_input_length(self) -> int | None:
        return self.tokens.window

    def settle(self, *, optimize: bool) -> None:
        super().settle(optimize=optimize)
        layout = self._layout(optimize=optimize) if self.tokens.pad_id is not None else "alone"
        self.runs["batches"] = _WORDS[layout]
        if layout == "unpadded":
            self.batch = _UNPADDED
        elif layout == "equal":
            self.batch = replace(self.batch, equal=True)
        elif layout == "alone":
            self.batch = BatchLimits(items=1)

    def _layout(self, *, optimize: bool) -> Layout:
        encoder = self.model.base_model
        accepted = inspect.signature(encoder.forward).parameters
        candidates = []
        if optimize and self.device.type == "cpu" and looks_far(self.config):
            first = first_position(self.config)
            candidates = [Unpadded(encoder, first, causal=causal) for causal in (False, True)]

        def padded(rows: Sequence[list[int]]) -> dict[str, Any]:
            tensors = self.tokens.pad([plain(ids) for ids in rows])
            return arguments(tensors, accepted, self.device)

        try:
            layout, unpadded = company.find(encoder, padded, candidates)
        except Exception as error:  # an encoder that cannot be called by itself
            log.info("batches are of one length: %s: %s", type(error).__name__, error)
            return "equal"
        if unpadded is not None:
            encoder.forward = unpadded
        return layout


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
