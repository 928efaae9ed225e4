"""How much of a prompt is read between two steps of others, by how long both have taken."""

from __future__ import annotations

import math

_FIRST = 64  # tokens, before anything was timed
_FEWEST, _MOST = 32, 2048
_STEPS = 2.5  # that reading is to take as long as, or half as much more
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

    def next(self, left: int) -> int:
        """How many of the tokens that are left to read next: as many as later, so that no small rest
        is read by itself, which costs nearly as much."""
        return math.ceil(left / max(1, round(left / self._size())))

    def _size(self) -> int:
        if not (self._step and self._token):
            return _FIRST
        return max(_FEWEST, min(int(_STEPS * self._step / self._token), _MOST))


def _mean(before: float, newest: float) -> float:
    return before + _NEWEST * (newest - before) if before else newest
