"""The requests that wait, in the order in which the model turns to them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from itertools import zip_longest
from typing import Generic, TypeVar

T = TypeVar("T")

_AGAIN = 4  # of so many turns one is for those that had one, if both wait


class Line(Generic[T]):
    """Who comes first is first, and who had a turn goes to the end of another line: so a request of
    one text does not wait for a turn of each request of a thousand. One of four turns is for that line,
    however many come."""

    def __init__(self) -> None:
        self._new: OrderedDict[T, None] = OrderedDict()
        self._again: OrderedDict[T, None] = OrderedDict()
        self._turns = 1

    def __len__(self) -> int:
        return len(self._new) + len(self._again)

    def __iter__(self) -> Iterator[T]:
        """Whose turn it is, then one of each line by turns."""
        lines = [self._new, self._again]
        if self._turns % _AGAIN == 0:
            lines.reverse()
        for one, other in zip_longest(*lines):
            if one is not None:
                yield one
            if other is not None:
                yield other

    def add(self, one: T) -> None:
        self._new[one] = None

    def turned_to(self, one: T) -> None:
        """It had a turn: to the end of those that had."""
        self._turns += 1
        self.remove(one)
        self._again[one] = None

    def remove(self, one: T) -> None:
        """Whether it is there or not."""
        self._new.pop(one, None)
        self._again.pop(one, None)
