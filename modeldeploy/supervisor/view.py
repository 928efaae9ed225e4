"""A deployment as users see it, put together from its record and its worker's latest report."""

from __future__ import annotations

from typing import Any

from modeldeploy.schema import tasks
from modeldeploy.schema.deployment import Deployment, Replica
from modeldeploy.schema.stages import Stage
from modeldeploy.schema.states import State
from modeldeploy.supervisor.actor import Actor
from modeldeploy.supervisor.workers import Worker

ROUTES = ("predict", "health", "info", "docs")


def _replica(worker: Worker) -> Replica:
    report = worker.report
    return Replica(
        id=worker.record.id,
        pid=worker.record.identity.pid,
        started_at=worker.record.started_at,
        ready=worker.seen.ready,
        memory_bytes=report.memory_bytes if report else 0,
        requests=report.requests if report else 0,
        reserved_bytes=sum(report.reserved.values()) if report else 0,
        threads=report.threads if report else None,
        runs=report.runs if report else {},
    )


def _example(task: str) -> Any:
    schema = tasks.find(task)
    return schema.example if schema else None


def deployment_view(actor: Actor) -> Deployment:
    """What ``ls``, ``inspect`` and ``deploy --json`` show."""
    record, model, event = actor.record, actor.record.model, actor.events.latest
    worker = actor.worker if actor.worker and not actor.worker.seen.ended else None
    report = worker.report if worker else None
    url = record.spec.url(record.port) if record.port else None
    replicas = [_replica(worker)] if worker else []
    return Deployment(
        name=record.name,
        model_id=record.spec.model_id,
        revision=model.commit if model else record.spec.revision,
        task=model.task if model else record.spec.task,
        model_type=model.model_type if model else record.spec.model_type,
        state=record.state,
        desired=record.desired,
        port=record.port,
        url=url,
        device=(report.device if report else "") or record.spec.device,
        dtype=(report.dtype if report else "") or record.spec.dtype,
        created_at=record.created_at,
        ready_at=record.ready_at if record.state is State.RUNNING else None,
        stage=event.stage if event else Stage.VALIDATE,
        percent=event.percent if event else 0.0,
        message=event.message if event else "",
        restarts=record.restarts,
        requests=sum(replica.requests for replica in replicas),
        memory_bytes=sum(replica.memory_bytes for replica in replicas),
        error=record.error,
        replicas=replicas,
        spec=record.spec,
        snapshot=model.snapshot if model else None,
        keys=len(record.keys),
        endpoints={route: f"{url}/{route}" for route in ROUTES} if url else {},
        example=_example(model.task) if model else None,
    )
