"""What a worker is told at its start, and what it reports to its supervisor."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from modeldeploy.schema.computing import Backend, Batching, Optimize
from modeldeploy.schema.deployment import ModelType
from modeldeploy.schema.problem import Problem
from modeldeploy.schema.stages import Stage
from modeldeploy.schema.threads import Threads

Phase = Literal["loading", "ready", "draining", "failed"]


class Limits(Struct, frozen=True, kw_only=True):
    """What one deployment accepts; past a limit every dialect answers a 4xx that names it."""

    max_body_bytes: int = 32 * 1024 * 1024
    max_texts: int = 1024
    max_queue: int = 512
    request_timeout: float = 60.0
    generation_timeout: float = 600.0
    load_wait: float = 5.0


class Reserved(Struct, frozen=True, kw_only=True):
    """Memory that other deployments' keys and values may still take: ``bytes`` of each memory, by its
    name. Of the host's that is what ``writers`` deployments may, of which ``loading`` have not said yet
    how much."""

    bytes: dict[str, int] = {}
    writers: int = 0
    loading: int = 0


HOST = "host"  # the name of the memory that CPUs compute in


class WorkerSpec(Struct, frozen=True, kw_only=True):
    """A worker's whole orders: a 0600 JSON file, named by its only argument. No secrets in it:
    ``keys`` are digests.

    ``companion`` and ``gguf`` are those of :class:`~modeldeploy.schema.fetch.ResolvedModel`;
    ``graphs`` is where graphs of models are kept (None: nowhere, and none is made), once a model has
    computed for ``optimize_after`` seconds.
    """

    deployment: str
    replica: str
    model_id: str
    commit: str | None
    snapshot: str
    task: str
    model_type: ModelType
    device: str
    dtype: str
    trust_remote_code: bool
    allow_pickle: bool
    host: str
    port: int
    socket: str
    handover: str
    log_file: str
    log_max_bytes: int
    log_files: int
    drain_timeout: float
    limits: Limits
    threads: int
    memory: int | None = None
    reserved: Reserved = Reserved()
    keys: tuple[str, ...] = ()
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    allow_origins: tuple[str, ...] = ()
    allow_media_urls: tuple[str, ...] = ()
    optimize: Optimize = "equal"
    backend: Backend = "auto"
    batching: Batching = Batching()
    optimize_after: float = 5.0
    graphs: str | None = None
    companion: str | None = None
    gguf: str | None = None
    python: str | None = None
    env: dict[str, str] = {}

    @property
    def runs_apart(self) -> bool:
        """Whether it needs an interpreter that was started for it."""
        return bool(self.python or self.env)

    @property
    def snapshots(self) -> list[str]:
        """What the model is made of."""
        return [one for one in (self.snapshot, self.companion) if one]


class ForkOrder(Struct, frozen=True, kw_only=True):
    """What the template is told: whose spec to become, its descriptors beside it. Its ``number`` comes
    back with the answer, which may be late."""

    number: int
    spec_file: str


class ForkAnswer(Struct, frozen=True, kw_only=True):
    """The worker's pid, to the order of that ``number``; the first, without a pid, says that the template
    is ready, or as ``error`` why it cannot fork at all."""

    number: int = 0
    pid: int = 0
    error: str = ""


class WorkerReport(Struct, frozen=True, kw_only=True):
    """One line of ``GET /events`` on a worker's private socket, at least one a second.

    ``start_time`` is the process's own (psutil ``create_time``, Unix seconds); with ``pid`` and
    ``replica`` it is the identity that adoption asks for. ``fraction`` is of ``stage``.
    ``reserved`` is what keys and values may take beside what they do, by the memory's name; ``busy_seconds`` how long,
    in all, there was a request for the model; ``runs`` how it computes, in words; ``keys`` is the mark of the API keys that it knows.
    """

    deployment: str
    replica: str
    pid: int
    start_time: float
    phase: Phase
    stage: Stage
    fraction: float
    message: str
    done: int = 0
    total: int = 0
    unit: str = ""
    device: str = ""
    dtype: str = ""
    memory_bytes: int = 0
    reserved: dict[str, int] = {}
    requests: int = 0
    in_flight: int = 0
    busy_seconds: float = 0.0
    keys: str = ""
    threads: Threads | None = None
    runs: dict[str, str] = {}
    problem: Problem | None = None
