"""How much there is in a value: what decides whether the event loop may work on it."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import astuple

QUICK = 4096
_TEXTS = (str, bytes)
_CONTAINERS = (list, tuple, dict)
_NUMBERS = frozenset({float, int})


def weight(*values: Any) -> int:
    """Characters, bytes and numbers, wherever in the values they are; it stops counting soon
    beyond :data:`QUICK`."""
    total = 0
    todo = list(values)
    while todo and total <= QUICK:
        one = todo.pop()
        if isinstance(one, _TEXTS):
            total += len(one)
        elif isinstance(one, Struct):
            todo += astuple(one)
        elif isinstance(one, _CONTAINERS):
            total += len(one)
            inner = one.values() if isinstance(one, dict) else one
            # A vector's numbers are not looked at one by one: that took ten times as long as to encode them.
            if total <= QUICK and not _NUMBERS.issuperset(map(type, inner)):
                todo += inner
        else:
            total += int(getattr(one, "nbytes", 1))
    return total
