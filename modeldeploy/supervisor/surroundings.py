"""What every deployment of one supervisor shares, and the orders of a worker made from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from modeldeploy import paths
from modeldeploy.engines.base import Engine
from modeldeploy.schema.deployment import Spec
from modeldeploy.schema.worker import Limits, Reserved, WorkerSpec
from modeldeploy.supervisor import backends
from modeldeploy.supervisor.budget import Budget
from modeldeploy.supervisor.clock import Clock
from modeldeploy.supervisor.fetchers import Fetchers
from modeldeploy.supervisor.plan import Policy
from modeldeploy.supervisor.ports import PortPool, Reservation
from modeldeploy.supervisor.record import Record
from modeldeploy.supervisor.store import Store
from modeldeploy.supervisor.watching import Watch
from modeldeploy.supervisor.workers import new_replica_id

_GRAPHS = ".modeldeploy-graphs"


@dataclass(frozen=True)
class Surroundings:
    """``reserved`` tells what all deployments but one may still take of memory, ``is_shared`` whether
    several stand to download the same model; ``watch`` is told whenever a deployment looks different."""

    paths: paths.Paths
    store: Store
    ports: PortPool
    engine: Engine
    clock: Clock
    budget: Budget
    policy: Policy
    limits: Limits
    optimize_after: float
    fetchers: Fetchers
    log_max_bytes: int
    log_files: int
    reserved: Callable[[str], Reserved]
    ports_in_use: Callable[[], set[int]]
    reserve: Callable[[int, str], Reservation]
    is_shared: Callable[[Spec], bool]
    watch: Watch
    forget: Callable[[str], None]


def worker_spec(
    record: Record, reservation: Reservation, around: Surroundings, keys: tuple[str, ...]
) -> WorkerSpec:
    """The orders of a fresh worker that is to listen on ``reservation`` and to answer ``keys``."""
    assert record.model is not None
    replica = new_replica_id()
    device, dtype = backends.place(record.spec)
    return WorkerSpec(
        deployment=record.name,
        replica=replica,
        model_id=record.model.model_id,
        commit=record.model.commit,
        snapshot=record.model.snapshot,
        task=record.model.task,
        model_type=record.model.model_type,
        device=device,
        dtype=dtype,
        trust_remote_code=record.spec.trust_remote_code,
        allow_pickle=record.spec.allow_pickle,
        host=reservation.host,
        port=reservation.port,
        socket=str(around.paths.worker_socket(replica)),
        handover=str(around.paths.worker_handover(replica)),
        log_file=str(around.paths.deployment_log(record.name)),
        log_max_bytes=around.log_max_bytes,
        log_files=around.log_files,
        drain_timeout=around.policy.drain_timeout,
        limits=around.limits,
        threads=record.spec.threads or around.budget.cores,
        memory=record.spec.memory,
        reserved=around.reserved(record.name),
        keys=keys,
        ssl_certfile=record.spec.ssl_certfile,
        ssl_keyfile=record.spec.ssl_keyfile,
        allow_origins=record.spec.allow_origins,
        allow_media_urls=record.spec.allow_media_urls,
        optimize=record.spec.optimize,
        backend=record.spec.backend,
        batching=record.spec.batching,
        optimize_after=around.optimize_after,
        graphs=str(Path(record.spec.cache_dir) / _GRAPHS),
        companion=record.model.companion,
        gguf=record.model.gguf,
        python=record.spec.python,
        env=record.spec.env,
    )
