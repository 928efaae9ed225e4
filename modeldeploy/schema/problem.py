"""An error on the wire."""

from __future__ import annotations

from msgspec import Struct


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What went wrong (``code`` is stable), what to do next, and a dead process's last lines."""

    code: str
    message: str
    hint: str = ""
    details: list[str] = []
