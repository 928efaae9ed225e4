"""A text that is longer than the model's window, in windows that overlap."""

from __future__ import annotations

from collections.abc import Iterator

from modeldeploy.worker.tasks.tokens import Encoded


def windows(whole: Encoded, window: int, stride: int) -> Iterator[Encoded]:
    """Pieces of ``whole`` of at most ``window`` tokens, special ones included, of which neighbours
    share ``stride``; each keeps the special tokens around the text."""
    opening = next((at for at, one in enumerate(whole.special) if not one), len(whole))
    closing = next((at for at, one in enumerate(reversed(whole.special)) if not one), 0)
    end = len(whole) - closing
    width = max(1, window - opening - closing)
    step = max(1, width - stride)
    for start in range(opening, max(opening + 1, end), step):
        kept = [*range(opening), *range(start, min(start + width, end)), *range(end, len(whole))]
        yield whole.pick(kept)
        if start + width >= end:
            return
