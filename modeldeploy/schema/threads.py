"""How many CPU threads a worker computes with, as its supervisor orders and as it tells."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


class Threads(Struct, frozen=True, kw_only=True):
    """``why`` is in words, of the whole machine: ``2 of 2 cores: no other deployment is busy``."""

    count: Annotated[int, Meta(ge=1)]
    why: str = ""
