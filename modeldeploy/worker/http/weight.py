"""How much there is in a value: what decides whether the event loop may work on it."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import astuple

QUICK = 4096


def weight(*values: Any) -> int:
    """Characters, bytes and numbers, wherever in the values they are; it stops counting soon
    beyond :data:`QUICK`."""
    total = 0
    todo = list(values)
    while todo and total <= QUICK:
        one = todo.pop()
        if isinstance(one, str | bytes):
            total += len(one)
        elif isinstance(one, Struct):
            todo += astuple(one)
        elif isinstance(one, list | tuple | dict):
            total += len(one)
            if total <= QUICK:
                todo += one.values() if isinstance(one, dict) else one
        else:
            total += int(getattr(one, "nbytes", 1))
    return total
