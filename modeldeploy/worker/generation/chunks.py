"""How much of a prompt is read at once, by how long steps and reading have taken."""

from __future__ import annotations

import math

_FIRST = 64  # tokens, before anything was timed
_FEWEST, _MOST = 32, 2048
_STEPS = 2.5  # that reading is to take as long as, or half as much more
_SECONDS = (
    0.25  # and where nobody writes: until somebody may have left, or come with a shorter prompt
)
_NEWEST = 0.25  # the share of the newest figure in their mean


class Chunks:
    """Of one engine. A chunk of a prompt holds up the others' streams, and between two chunks they hold up
    the prompt: so a chunk takes about as long as a few of their steps, on any device."""

    def __init__(self) -> None:
        self._step = self._token = 0.0  # seconds, 0.0: not timed yet

    def stepped(self, seconds: float) -> None:
        """A step of all who write took so long."""
        self._step = _mean(self._step, seconds)

    def read(self, tokens: int, seconds: float) -> None:
        """So many tokens of a prompt were read at once."""
        if tokens >= _FEWEST:  # fewer cost nearly as much, and say nothing of one
            self._token = _mean(self._token, seconds / tokens)

    def next(self, left: int, *, beside: bool) -> int:
        """How many of the tokens that are left to read next, ``beside`` others who write or with nobody
        there: as many as later, so that no small rest is read by itself, which costs nearly as much."""
        size = (
            self._within(_STEPS * self._step, _FEWEST) if beside else self._within(_SECONDS, _FIRST)
        )
        return math.ceil(left / max(1, round(left / size)))

    def _within(self, seconds: float, fewest: int) -> int:
        """Tokens that are read in so long."""
        if not (seconds and self._token):
            return _FIRST
        return max(fewest, min(int(seconds / self._token), _MOST))


def _mean(before: float, newest: float) -> float:
    return before + _NEWEST * (newest - before) if before else newest
