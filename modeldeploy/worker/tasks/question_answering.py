"""A question and a context in, the span of the context that answers it out.

A context longer than the model's window is read in windows that overlap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from modeldeploy.errors import InputTooLong, InvalidRequest, UnsupportedModel
from modeldeploy.schema.tasks.text import Answer, QuestionAnsweringParameters, QuestionContext
from modeldeploy.worker.adapter import Item, Source
from modeldeploy.worker.tasks.scores import not_numbers
from modeldeploy.worker.tasks.spans import Floats, best_spans
from modeldeploy.worker.tasks.text_model import TextModel
from modeldeploy.worker.tasks.tokens import Encoded

_MOST_CHARACTERS = 2_000_000
_MOST_WINDOWS = 1024
# Several spans may be one answer once they are widened to whole words.
_CANDIDATES = 8


@dataclass
class Window:
    """``encoded`` is what the model reads; its tokens in ``context`` are the whole's from ``first``."""

    encoded: Encoded
    context: slice
    first: int
    whole: Encoded


@dataclass
class Logits:
    window: Window
    start: Floats
    end: Floats


class QuestionAnswering(TextModel[QuestionContext, QuestionAnsweringParameters]):
    def prepare(self, source: Source) -> None:
        super().prepare(source)
        if not self.tokens.has_offsets:
            raise UnsupportedModel(
                "its tokenizer cannot tell where in the text a token is",
                hint="question answering needs a fast tokenizer (tokenizer.json)",
            )
        self._cls = self.tokens.tokenizer.cls_token_id

    def pre(self, inputs: QuestionContext, parameters: QuestionAnsweringParameters) -> list[Item]:
        if len(inputs.context) + len(inputs.question) > _MOST_CHARACTERS:
            raise InputTooLong(
                f"question and context have {len(inputs.context) + len(inputs.question)} characters, "
                f"the limit is {_MOST_CHARACTERS}",
                hint="ask about parts of the context",
            )
        whole = self.tokens.encode(inputs.question, inputs.context)
        return [Item(one, len(one.encoded)) for one in self._windows(whole, parameters)]

    def _windows(self, whole: Encoded, parameters: QuestionAnsweringParameters) -> list[Window]:
        asked = whole.sequence.count(0)
        if asked > parameters.max_question_len:
            raise InputTooLong(
                f"the question has {asked} tokens, max_question_len is {parameters.max_question_len}",
                hint="shorten it, or raise max_question_len",
            )
        if 1 not in whole.sequence:
            raise InvalidRequest("context: there is nothing in it to read")
        first = whole.sequence.index(1)
        behind = len(whole) - whole.sequence[::-1].index(1)
        room = parameters.max_seq_len
        if self.tokens.window is not None:
            room = min(room, self.tokens.window)
        width = room - first - (len(whole) - behind)
        if width < 1:
            raise InputTooLong(
                f"the question takes {room - width} of the {room} tokens of a window, "
                "so there is no room for the context",
                hint="shorten the question, or raise max_seq_len",
            )
        step = width - min(parameters.doc_stride, width // 2)
        count = 1 + max(0, -(-(behind - first - width) // step))
        if count > _MOST_WINDOWS:
            raise InputTooLong(
                f"the context has {behind - first} tokens, which makes {count} windows; "
                f"the limit is {_MOST_WINDOWS}",
                hint="ask about parts of the context, or lower doc_stride",
            )
        return [_window(whole, first, behind, first + n * step, width) for n in range(count)]

    def forward(self, items: list[Item]) -> list[Any]:
        windows: list[Window] = [item.data for item in items]
        output = self.call(**self.tokens.pad([window.encoded for window in windows]))
        starts = self.tokens.unpadded(output.start_logits, [len(w.encoded) for w in windows])
        ends = self.tokens.unpadded(output.end_logits, [len(w.encoded) for w in windows])
        return [Logits(*one) for one in zip(windows, starts, ends, strict=True)]

    def post(
        self, raws: list[Any], inputs: QuestionContext, parameters: QuestionAnsweringParameters
    ) -> Answer | list[Answer]:
        best: dict[str, Answer] = {}
        least_null = 1.0
        wanted = 1 if parameters.top_k == 1 else parameters.top_k * _CANDIDATES
        for raw in raws:
            window: Window = raw.window
            null = self._null(window)
            spans, nothing = best_spans(
                raw.start, raw.end, window.context, null, parameters.max_answer_len, wanted
            )
            least_null = min(least_null, nothing)
            for span in spans:
                shift = window.first - window.context.start
                start, end = span.start + shift, span.end + shift
                if parameters.align_to_words:
                    start, end = _words(window.whole, start, end)
                answer = _answer(inputs.context, window.whole, start, end, span.score)
                known = best.get(answer.answer.casefold())
                if known is None or known.score < answer.score:
                    best[answer.answer.casefold()] = answer
        answers = list(best.values())
        if parameters.handle_impossible_answer:
            answers.append(Answer("", least_null, 0, 0))
        answers.sort(key=lambda answer: -answer.score)
        if not answers:
            raise not_numbers()
        return answers[0] if parameters.top_k == 1 else answers[: parameters.top_k]

    def _null(self, window: Window) -> list[int]:
        """Where the CLS token is: some models point there when there is no answer."""
        if self._cls is None:
            return []
        inside = range(window.context.start, window.context.stop)
        return [
            at for at, one in enumerate(window.encoded.ids) if one == self._cls and at not in inside
        ]


def _window(whole: Encoded, first: int, behind: int, at: int, width: int) -> Window:
    """The question, ``width`` tokens of the context from ``at`` on, and what closes the text."""
    end = min(at + width, behind)
    parts = (slice(0, first), slice(at, end), slice(behind, len(whole)))
    encoded = Encoded(
        ids=[one for part in parts for one in whole.ids[part]],
        types=[one for part in parts for one in whole.types[part]],
        special=[],
        sequence=[],
        offsets=[],
        words=[],
    )
    return Window(encoded, slice(first, first + end - at), at, whole)


def _words(whole: Encoded, start: int, end: int) -> tuple[int, int]:
    """The tokens from ``start`` to ``end``, widened to whole words."""
    while _same_word(whole, start - 1, start):
        start -= 1
    while _same_word(whole, end + 1, end):
        end += 1
    return start, end


def _answer(context: str, whole: Encoded, start: int, end: int, score: float) -> Answer:
    """The answer from token ``start`` to ``end`` of the whole."""
    left, right = whole.offsets[start][0], whole.offsets[end][1]
    text = context[left:right]
    left += len(text) - len(text.lstrip())
    text = text.strip()
    return Answer(text, score, left, left + len(text))


def _same_word(whole: Encoded, neighbour: int, token: int) -> bool:
    return (
        0 <= neighbour < len(whole)
        and whole.sequence[neighbour] == 1
        and whole.words[token] is not None
        and whole.words[neighbour] == whole.words[token]
    )
