"""An image and a question in, answers with scores out: chosen among the model's, or written."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import Any

from modeldeploy.errors import InputTooLong
from modeldeploy.schema.tasks.multimodal import ImageQuestion, VisualAnswer, VisualAnswersParameters
from modeldeploy.schema.tasks.seq2seq import Decoding
from modeldeploy.worker.adapter import BatchLimits, Item, Source
from modeldeploy.worker.loading import processors
from modeldeploy.worker.tasks import images
from modeldeploy.worker.tasks.features import Features, joined, processed, shapes
from modeldeploy.worker.tasks.generating import Generator
from modeldeploy.worker.tasks.model import ModelAdapter
from modeldeploy.worker.tasks.planning import Plan, Planner
from modeldeploy.worker.tasks.scores import labels
from modeldeploy.worker.tasks.tokens import window_of


@dataclass
class Asked:
    """``plan`` where the answer is to be written."""

    features: Features
    plan: Plan | None = None


class VisualQuestionAnswering(ModelAdapter[ImageQuestion, VisualAnswersParameters]):
    quick_pre = False
    batch = BatchLimits(items=8, size=4096, unit="tokens")

    def prepare(self, source: Source) -> None:
        self.processor = processors.load_processor(source)
        tokenizer = self.processor.tokenizer
        self._window = window_of(self.config, tokenizer)
        self._pad_id = tokenizer.pad_token_id or 0
        # Calls of a tokenizer set its truncation and padding, which is state of its own.
        self._processing = threading.Lock()
        self._writes: Generator | None = None
        if self.model.can_generate():
            self.planner = Planner(self.model)
            self._writes = Generator(self.model, tokenizer, self.planner.ends)

    def max_input_length(self) -> int | None:
        return self._window

    def pre(self, inputs: ImageQuestion, parameters: VisualAnswersParameters) -> list[Item]:
        image = images.decode(inputs.image).convert("RGB")
        with self._processing:
            features = processed(
                lambda: self.processor(images=image, text=inputs.question, return_tensors="pt"),
                "image, question",
            )
        length = features["input_ids"].shape[1]
        if self._window is not None and length > self._window:
            raise InputTooLong(
                f"the question has {length} tokens, the model's window is {self._window} tokens",
                hint="shorten it",
            )
        if self._writes is None:
            return [Item(Asked(features), length, shapes(features))]
        # Sampling or beams would leave the score without a meaning.
        how = Decoding(max_new_tokens=parameters.max_new_tokens, do_sample=False, num_beams=1)
        plan = self.planner.plan(how)
        # BLIP reads a question's padding, so that only questions of one length may share a call.
        key = (plan.key, shapes(features), length)
        cost = length + plan.get("max_new_tokens")
        return [Item(Asked(features, plan), cost, key, read=length)]

    def forward(self, items: list[Item]) -> list[Any]:
        asked: list[Asked] = [item.data for item in items]
        tensors = joined([one.features for one in asked], self.model.dtype, self._pad_id)
        if self._writes is None:
            return list(self.call(**tensors).logits.float().cpu().numpy())
        plans = [one.plan for one in asked if one.plan]
        written = self._writes.write(items, plans, tensors, logprobs=True)
        return [
            VisualAnswer(self._writes.answer(one, plan).strip(), math.exp(one.logprob or 0.0))
            for one, plan in zip(written, plans, strict=True)
        ]

    def post(
        self, raws: list[Any], inputs: ImageQuestion, parameters: VisualAnswersParameters
    ) -> list[VisualAnswer]:
        (raw,) = raws
        if isinstance(raw, VisualAnswer):
            return [raw]
        best = labels(raw, "sigmoid", self.config.id2label, parameters.top_k)
        return [VisualAnswer(one.label, one.score) for one in best]
