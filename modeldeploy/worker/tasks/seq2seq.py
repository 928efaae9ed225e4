"""One text in, another text out: summaries, answers, whatever the model was taught."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from modeldeploy.schema.tasks.generation import GeneratedText
from modeldeploy.schema.tasks.seq2seq import Seq2SeqParameters, Summary
from modeldeploy.schema.tasks.text import Text
from modeldeploy.worker.adapter import BatchLimits, Item, Source
from modeldeploy.worker.loading import checkpoint
from modeldeploy.worker.tasks.generating import Generator, Written
from modeldeploy.worker.tasks.model import ModelAdapter
from modeldeploy.worker.tasks.planning import BEAMS, Plan, Planner
from modeldeploy.worker.tasks.tokens import Encoded, Tokens

_CUTS = frozenset({"longest_first", "only_first"})
How = TypeVar("How", bound=Seq2SeqParameters)


@dataclass
class Reading:
    """What the encoder reads, and how the decoder writes."""

    encoded: Encoded
    plan: Plan


@dataclass
class Answer:
    written: Written
    plan: Plan


class Seq2Seq(ModelAdapter[Text, How], Generic[How]):
    """What the tasks on an encoder-decoder share."""

    generates = True
    batch = BatchLimits(items=16, size=16384, unit="tokens")

    def prepare(self, source: Source) -> None:
        self.tokens = Tokens(checkpoint.load_tokenizer(source), self.config)
        self.planner = Planner(self.model, BEAMS)
        self.generator = Generator(self.model, self.tokens.tokenizer, self.planner.ends)

    def task_params(self, task: str) -> dict[str, Any]:
        """What the model's config says of one task: settings of ``generate``, and a ``prefix``."""
        every = getattr(self.config, "task_specific_params", None) or {}
        found = every.get(task)
        return found if isinstance(found, dict) else {}

    def max_input_length(self) -> int | None:
        return self.tokens.window

    def pre(self, inputs: Text, parameters: How) -> list[Item]:
        encoded, plan = self.read(inputs.text, parameters)
        cost = (len(encoded) + plan.get("max_new_tokens")) * plan.width
        return [Item(Reading(encoded, plan), cost, plan.key, read=len(encoded))]

    @abstractmethod
    def read(self, text: str, parameters: How) -> tuple[Encoded, Plan]:
        """What the encoder is given for ``text``, and the decoding."""

    def encode(self, text: str, parameters: How) -> Encoded:
        cut = parameters.truncate or parameters.truncation in _CUTS
        return self.tokens.fitted(text, truncate=cut)

    def plan(self, parameters: How, task: dict[str, Any]) -> Plan:
        return self.planner.plan(parameters, parameters.generate_parameters, task)

    def forward(self, items: list[Item]) -> list[Any]:
        readings: list[Reading] = [item.data for item in items]
        plans = [one.plan for one in readings]
        tensors = self.tokens.pad([one.encoded for one in readings])
        tensors.pop("token_type_ids", None)  # encoder-decoders know none
        written = self.generator.write(items, plans, tensors)
        return [Answer(*one) for one in zip(written, plans, strict=True)]

    def text(self, raw: Answer, parameters: How) -> str:
        clean_up = parameters.clean_up_tokenization_spaces
        return self.generator.answer(raw.written, raw.plan, clean_up=clean_up)


class _Prefixed(Seq2Seq[Seq2SeqParameters]):
    """A task that the model knows by words before the text, if by anything (T5)."""

    task: ClassVar[str]

    def read(self, text: str, parameters: Seq2SeqParameters) -> tuple[Encoded, Plan]:
        task = self.task_params(self.task)
        prefix = task.get("prefix") or getattr(self.config, "prefix", None) or ""
        return self.encode(prefix + text, parameters), self.plan(parameters, task)


class Summarization(_Prefixed):
    task = "summarization"

    def post(self, raws: list[Any], inputs: Text, parameters: Seq2SeqParameters) -> Summary:
        return Summary(self.text(raws[0], parameters))


class Text2Text(_Prefixed):
    task = "text2text-generation"

    def post(self, raws: list[Any], inputs: Text, parameters: Seq2SeqParameters) -> GeneratedText:
        return GeneratedText(self.text(raws[0], parameters))
