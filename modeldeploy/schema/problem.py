"""An error on the wire."""

from __future__ import annotations

from msgspec import Struct


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What went wrong (``code`` is stable), what to do next, and a dead process's last lines."""

    code: str
    message: str
    hint: str = ""
    details: list[str] = []


class Crowd(Struct, frozen=True, kw_only=True):
    """What a request met that was refused with 429: ``depth`` were there before it, so that it would
    have had the ``position`` behind them, and no more than ``limit`` may be."""

    depth: int
    position: int
    limit: int
