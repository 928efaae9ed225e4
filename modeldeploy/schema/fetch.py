"""What the fetcher is asked and what it answers, a JSON object a line over its pipes."""

from __future__ import annotations

from typing import Union

from msgspec import Struct

from modeldeploy.schema.deployment import HubAccess, ModelType, Spec
from modeldeploy.schema.problem import Problem
from modeldeploy.schema.stages import Stage

LINE_BYTES = 1 << 20  # no line is longer
AHEAD = "--ahead"  # has a fetcher import what it needs before it is asked


class FetchRequest(Struct, frozen=True, kw_only=True):
    """The first line of the fetcher's standard input; at its end the fetcher ends too.

    ``log`` is the file for what it writes to standard error from then on (None: as before). With
    ``discard`` nothing is fetched: what unfinished downloads of the model left is removed.
    """

    spec: Spec
    hub: HubAccess
    log: str | None = None
    discard: bool = False


class ResolvedModel(Struct, frozen=True, kw_only=True):
    """A model that is whole on this disk.

    ``snapshot`` is a directory in Hub layout, ``commit`` the Hub's 40 hex digits (None for a
    local directory), ``weights_bytes`` the size of the weight files to be loaded. ``companion`` is
    a second snapshot that the first is loaded with: the base model of an adapter, the vocoder of a
    voice. Where the model is a ``gguf`` file, ``snapshot`` is what a worker makes of it, once.
    """

    model_id: str
    commit: str | None
    snapshot: str
    task: str
    model_type: ModelType
    architectures: list[str]
    weights_bytes: int
    total_bytes: int
    downloaded_bytes: int
    companion: str | None = None
    gguf: str | None = None


class FetchProgress(Struct, frozen=True, kw_only=True, tag="progress"):
    """Bytes done of the bytes needed (both 0 while validating)."""

    stage: Stage
    fraction: float
    message: str
    done_bytes: int = 0
    total_bytes: int = 0


class FetchDone(Struct, frozen=True, kw_only=True, tag="done"):
    model: ResolvedModel


class FetchDiscarded(Struct, frozen=True, kw_only=True, tag="discarded"):
    """What was unfinished is gone."""


class FetchFailed(Struct, frozen=True, kw_only=True, tag="failed"):
    problem: Problem


FetchEnding = Union[FetchDone, FetchDiscarded, FetchFailed]
FetchLine = Union[FetchProgress, FetchEnding]
