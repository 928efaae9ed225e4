"""A document's image and a question in, answers out.

LayoutLM and its successors find the answer among the document's words, in windows that overlap
where there are too many; Donut reads the image itself and writes it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import torch

from modeldeploy.errors import InputTooLong, InvalidRequest, UnsupportedModel
from modeldeploy.schema.tasks.multimodal import (
    DocumentAnswer,
    DocumentAnswersParameters,
    ImageQuestion,
)
from modeldeploy.schema.tasks.seq2seq import Decoding
from modeldeploy.worker.adapter import BatchLimits, Item, Source
from modeldeploy.worker.failures import panics_as_errors
from modeldeploy.worker.loading import checkpoint, processors
from modeldeploy.worker.tasks import documents, images
from modeldeploy.worker.tasks.features import Features, joined, processed, shapes
from modeldeploy.worker.tasks.generating import Generator
from modeldeploy.worker.tasks.model import ModelAdapter
from modeldeploy.worker.tasks.planning import Plan, Planner
from modeldeploy.worker.tasks.scores import not_numbers
from modeldeploy.worker.tasks.spans import Floats, best_spans
from modeldeploy.worker.tasks.tokens import window_of

_WRITING = "vision-encoder-decoder"
_MOST_WINDOWS = 256
_SEP = [1000] * 4
_STRIDE = 256
_PROMPT = "<s_docvqa><s_question>{}</s_question><s_answer>"
_CLOSING = "</s_answer>"
_TAG = re.compile(r"<[^<>]*>")


@dataclass
class Window:
    """``words`` are the indices of the tokens' words in the document, None beside it."""

    features: Features
    words: list[int | None]
    first: int
    null: list[int]
    document: documents.Document

    def __len__(self) -> int:
        return len(self.words)


@dataclass
class Found:
    window: Window
    start: Floats
    end: Floats


@dataclass
class Page:
    """What Donut reads, and the prompt that it goes on from."""

    features: Features
    prompt: list[int]
    plan: Plan


class DocumentQuestionAnswering(ModelAdapter[ImageQuestion, DocumentAnswersParameters]):
    quick_pre = False
    batch = BatchLimits(items=8, size=4096, unit="tokens")

    def auto_class(self, source: Source) -> str:
        self._writes = self.config.model_type == _WRITING
        return "AutoModelForImageTextToText" if self._writes else source.task.auto_class

    def prepare(self, source: Source) -> None:
        self._tokenizer = checkpoint.load_tokenizer(source)
        if self._writes:
            self._image_processor = processors.load_image_processor(source)
            self.planner = Planner(self.model)
            self.generator = Generator(self.model, self._tokenizer, self.planner.ends)
            return
        rust = getattr(self._tokenizer, "backend_tokenizer", None)
        if rust is None:
            raise UnsupportedModel(
                "its tokenizer cannot tell which word a token is of",
                hint="document question answering needs a fast tokenizer (tokenizer.json)",
            )
        rust.no_truncation()
        rust.no_padding()
        self._rust = rust
        self._sees = "pixel_values" in self.accepted
        if self._sees:
            self._image_processor = processors.load_image_processor(source)
            self._image_processor.apply_ocr = False  # the words are given, or read by us

    def max_input_length(self) -> int | None:
        return window_of(self.config, self._tokenizer)

    def pre(self, inputs: ImageQuestion, parameters: DocumentAnswersParameters) -> list[Item]:
        image = images.decode(inputs.image).convert("RGB")
        if self._writes:
            return [self._page(image, inputs.question, parameters)]
        document = (
            documents.read(image, parameters.lang)
            if parameters.word_boxes is None
            else documents.from_word_boxes(parameters.word_boxes)
        )
        seen = self._seen(image) if self._sees else {}
        with panics_as_errors():
            whole = self._rust.encode(inputs.question.split(), document.words, is_pretokenized=True)
        windows = self._windows(whole, document, seen, parameters)
        return [Item(one, len(one), shapes(seen)) for one in windows]

    def _seen(self, image: Any) -> Features:
        return processed(lambda: self._image_processor(image, return_tensors="pt"))

    # Among words

    def _windows(
        self,
        whole: Any,
        document: documents.Document,
        seen: Features,
        parameters: DocumentAnswersParameters,
    ) -> list[Window]:
        sequence: list[int | None] = whole.sequence_ids
        _check_question(sequence.count(0), parameters.max_question_len)
        inside = [at for at, one in enumerate(sequence) if one == 1]
        if not inside:
            raise InvalidRequest("word_boxes: there is nothing in them to read")
        width, stride = self._room(len(whole) - len(inside), parameters)
        step = width - min(stride, width - 1)
        count = 1 + max(0, -(-(len(inside) - width) // step))
        if count > _MOST_WINDOWS:
            raise InputTooLong(
                f"the document has {len(inside)} tokens, which makes {count} windows; "
                f"the limit is {_MOST_WINDOWS}",
                hint="ask about parts of it, or lower doc_stride",
            )
        before, after = range(inside[0]), range(inside[-1] + 1, len(whole))
        return [
            self._window(whole, [*before, *inside[at : at + width], *after], document, seen)
            for at in range(0, count * step, step)
        ]

    def _room(self, taken: int, parameters: DocumentAnswersParameters) -> tuple[int, int]:
        """Tokens of the document in one window, and how many of them two windows share."""
        limits = [one for one in (parameters.max_seq_len, self.max_input_length()) if one]
        room = min(limits, default=512)
        if taken >= room:
            raise InputTooLong(
                f"the question takes {taken} of the {room} tokens of a window, "
                "so there is no room for the document",
                hint="shorten the question, or raise max_seq_len",
            )
        stride = parameters.doc_stride or min(room // 2, _STRIDE)
        return room - taken, stride

    def _window(
        self, whole: Any, at: list[int], document: documents.Document, seen: Features
    ) -> Window:
        ids = [whole.ids[one] for one in at]
        words = [whole.word_ids[one] if whole.sequence_ids[one] == 1 else None for one in at]
        boxes = [
            self._beside(token) if word is None else document.boxes[word]
            for token, word in zip(ids, words, strict=True)
        ]
        features = {
            "input_ids": torch.tensor([ids]),
            "attention_mask": torch.ones((1, len(ids)), dtype=torch.long),
            "token_type_ids": torch.tensor([[whole.type_ids[one] for one in at]]),
            "bbox": torch.tensor([boxes]),
            **seen,
        }
        first = next(one for one, word in enumerate(words) if word is not None)
        cls = self._tokenizer.cls_token_id
        null = [
            one
            for one, (token, word) in enumerate(zip(ids, words, strict=True))
            if token == cls and word is None
        ]
        return Window(features, words, first, null, document)

    def _beside(self, token: int) -> documents.Box:
        """The box of a token that is no word's, as transformers' tokenizers of each family set
        it."""
        if token != self._tokenizer.sep_token_id:
            return 0, 0, 0, 0
        left, top, right, bottom = getattr(self._tokenizer, "sep_token_box", _SEP)
        return left, top, right, bottom

    def forward(self, items: list[Item]) -> list[Any]:
        if self._writes:
            return self._write(items)
        windows: list[Window] = [item.data for item in items]
        pad_id = self._tokenizer.pad_token_id or 0
        output = self.call(**joined([one.features for one in windows], self.model.dtype, pad_id))
        starts = output.start_logits.float().cpu().numpy()
        ends = output.end_logits.float().cpu().numpy()
        return [
            Found(window, start[: len(window)], end[: len(window)])
            for window, start, end in zip(windows, starts, ends, strict=True)
        ]

    def post(
        self, raws: list[Any], inputs: ImageQuestion, parameters: DocumentAnswersParameters
    ) -> list[DocumentAnswer]:
        if self._writes:
            return list(raws)
        answers: list[DocumentAnswer] = []
        least_null = 1.0
        for raw in raws:
            found, null = _answers(raw, parameters)
            answers += found
            least_null = min(least_null, null)
        if parameters.handle_impossible_answer:
            answers.append(DocumentAnswer("", least_null, 0, 0))
        if not answers:
            raise not_numbers()
        return sorted(answers, key=lambda one: -one.score)[: parameters.top_k]

    # Written

    def _page(self, image: Any, question: str, parameters: DocumentAnswersParameters) -> Item:
        asked = self._tokenizer.encode(question, add_special_tokens=False)
        _check_question(len(asked), parameters.max_question_len)
        prompt = self._tokenizer.encode(_PROMPT.format(question), add_special_tokens=False)
        features = self._seen(image)
        how = Decoding(max_new_tokens=parameters.max_new_tokens, do_sample=False, num_beams=1)
        plan = self.planner.plan(how, start=len(prompt))
        cost = len(prompt) + plan.get("max_new_tokens")
        key = (plan.key, shapes(features), len(prompt))
        return Item(Page(features, prompt, plan), cost, key, read=len(prompt))

    def _write(self, items: list[Item]) -> list[DocumentAnswer]:
        pages: list[Page] = [item.data for item in items]
        plans = [page.plan for page in pages]
        tensors = joined([page.features for page in pages], self.model.dtype, 0)
        tensors["decoder_input_ids"] = torch.tensor([page.prompt for page in pages])
        written = self.generator.write(items, plans, tensors, logprobs=True)
        return [
            DocumentAnswer(self._written(one.ids), math.exp(one.logprob or 0.0), 0, 0)
            for one in written
        ]

    def _written(self, ids: list[int]) -> str:
        """What stands before the answer's closing tag, without any other tags."""
        text: str = self._tokenizer.decode(ids)
        return _TAG.sub("", text.partition(_CLOSING)[0]).strip()


def _check_question(tokens: int, most: int) -> None:
    if tokens > most:
        raise InputTooLong(
            f"the question has {tokens} tokens, max_question_len is {most}",
            hint="shorten it, or raise max_question_len",
        )


def _answers(
    raw: Found, parameters: DocumentAnswersParameters
) -> tuple[list[DocumentAnswer], float]:
    """The best answers of one window, and the score of "no answer"."""
    window, words = raw.window, raw.window.document.words
    inside = [at for at, word in enumerate(window.words) if word is not None]
    context = slice(inside[0], inside[-1] + 1)
    spans, null = best_spans(
        raw.start, raw.end, context, window.null, parameters.max_answer_len, parameters.top_k
    )
    found = []
    for span in spans:
        start, end = window.words[span.start], window.words[span.end]
        assert start is not None, "spans are within the document"
        assert end is not None, "spans are within the document"
        found.append(DocumentAnswer(" ".join(words[start : end + 1]), span.score, start, end))
    return found, null
