"""From start and end logits to answers: the arithmetic of extractive question answering.

As transformers 4's question-answering pipeline did it (version 5 has none): a softmax over the
tokens that may be an answer or say that there is none, the product of a start's and an end's
probability as a span's score, spans no longer than ``max_answer_len`` tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from modeldeploy.worker.tasks.scores import check_numbers

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Span:
    """Token positions in the window, the end inclusive."""

    score: float
    start: int
    end: int


def masked_softmax(logits: Floats, allowed: npt.NDArray[np.bool_]) -> Floats:
    """Probabilities over ``allowed``, zero elsewhere.

    Raises:
        PredictionFailed: what is allowed is no number.
    """
    check_numbers(logits[allowed])
    powers = np.where(allowed, np.exp(logits - logits[allowed].max()), 0.0)
    probabilities: Floats = (powers / powers.sum()).astype(np.float32)
    return probabilities


def best_spans(
    start: Floats, end: Floats, context: slice, null: list[int], max_len: int, count: int
) -> tuple[list[Span], float]:
    """The ``count`` best spans within ``context``, best first, and the score of "no answer".

    ``start`` and ``end`` are one window's logits, ``null`` the positions whose probability stands
    for "no answer" (the CLS token).
    """
    allowed = np.zeros(len(start), dtype=np.bool_)
    allowed[context] = True
    allowed[null] = True
    starts, ends = masked_softmax(start, allowed), masked_softmax(end, allowed)
    nothing = float(starts[null[0]] * ends[null[0]]) if null else 0.0
    scores = _band(starts[context], ends[context], max_len)
    flat = scores.ravel()
    count = min(count, flat.size)
    chosen = np.argpartition(-flat, count - 1)[:count]
    chosen = chosen[np.argsort(-flat[chosen], kind="stable")]
    lengths, begins = np.unravel_index(chosen, scores.shape)
    spans = [
        Span(float(flat[at]), context.start + int(begin), context.start + int(begin + length))
        for at, length, begin in zip(chosen, lengths, begins, strict=True)
        if begin + length < len(starts[context])
    ]
    return spans, nothing


def _band(starts: Floats, ends: Floats, max_len: int) -> Floats:
    """``band[n, i]`` is the score of the span from token ``i`` to token ``i + n``; 0 past the end."""
    width = len(starts)
    band = np.zeros((min(max_len, width), width), dtype=np.float32)
    for length in range(len(band)):
        band[length, : width - length] = starts[: width - length] * ends[length:]
    return band
