"""The six stages of a deployment and their share of its progress."""

from __future__ import annotations

from enum import Enum


class Stage(str, Enum):
    VALIDATE = "validate"
    DOWNLOAD = "download"
    LOAD = "load"
    PIPELINE = "pipeline"
    SERVER = "server"
    COMPLETE = "complete"


SHARE: dict[Stage, tuple[int, int]] = {
    Stage.VALIDATE: (0, 10),
    Stage.DOWNLOAD: (10, 55),
    Stage.LOAD: (55, 60),
    Stage.PIPELINE: (60, 75),
    Stage.SERVER: (75, 85),
    Stage.COMPLETE: (85, 100),
}


def overall(stage: Stage, fraction: float) -> float:
    """Overall percent (0 to 100) when ``fraction`` (0 to 1) of ``stage`` is done."""
    start, end = SHARE[stage]
    return start + (end - start) * min(1.0, max(0.0, fraction))
