"""What one request may have done for it beside the model's own work, and whether anybody still waits.

Texts are read and files decoded in threads, and a thread cannot be ended from outside: the work looks
between two of its steps (:func:`go_on`), and counts what grows with what was sent (:func:`spend`).
Where no request is served, as while a model is loaded, neither does anything.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Literal, TypeVar

from modeldeploy.errors import InputTooLong
from modeldeploy.worker.adapter import Dropped

T = TypeVar("T")
Unit = Literal["pixels", "samples", "tokens"]

# Sixteen photographs of a telephone, an hour and a half of sound, the words of ten novels.
MOST: dict[Unit, int] = {"pixels": 200_000_000, "samples": 100_000_000, "tokens": 1_000_000}


class Effort:
    """Of one request. ``abandoned`` is set, from any thread, when nobody waits for it any more."""

    def __init__(self) -> None:
        self.abandoned = False
        self.spent: dict[Unit, int] = {}

    def of(self, function: Callable[..., T], *arguments: Any) -> T:
        """``function``, what it does counted here.

        Raises:
            Dropped: it was abandoned on the way.
        """
        before = _current.set(self)
        try:
            go_on()
            return function(*arguments)
        finally:
            _current.reset(before)


_current: ContextVar[Effort | None] = ContextVar("effort", default=None)


def go_on() -> None:
    """
    Raises:
        Dropped: nobody waits for what is being done.
    """
    effort = _current.get()
    if effort is not None and effort.abandoned:
        raise Dropped


def spend(amount: int, unit: Unit) -> None:
    """Count what is about to be done, or what was made and would now be worked on.

    Raises:
        Dropped: nobody waits for it. InputTooLong: the request as a whole asks for too much.
    """
    go_on()
    effort = _current.get()
    if effort is None:
        return
    total = effort.spent[unit] = effort.spent.get(unit, 0) + amount
    if total > MOST[unit]:
        raise InputTooLong(
            f"so far the request has {total} {unit}, the limit is {MOST[unit]} for all of it",
            hint="send several requests, each with less",
        )
