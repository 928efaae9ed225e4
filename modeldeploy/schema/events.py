"""Progress of a deployment: one way, from fetcher and worker to whoever listens."""

from __future__ import annotations

from msgspec import Struct

from modeldeploy.schema.problem import Problem
from modeldeploy.schema.stages import Stage
from modeldeploy.schema.states import State


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step. ``percent`` is overall (0 to 100); ``done`` of ``total`` counts ``unit``.

    Within one run of a deployment (``run`` grows at each start) ``percent`` never falls.
    """

    seq: int
    time: float
    run: int
    state: State
    stage: Stage
    percent: float
    message: str
    done: int = 0
    total: int = 0
    unit: str = ""
    error: Problem | None = None
