"""The memory that deployments which write may still take: what they keep of texts grows as these come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from modeldeploy.schema import tasks
from modeldeploy.schema.worker import Reserved
from modeldeploy.supervisor.actor import Actor


def reserved(actors: Iterable[Actor]) -> Reserved:
    """What these may take together."""
    still: Counter[str] = Counter()
    writers = loading = 0
    for actor in actors:
        worker = actor.worker
        if actor.is_loading:
            writes = _writes(actor)
            writers, loading = writers + writes, loading + writes
        elif worker and worker.report and not worker.seen.ended and worker.report.reserved_bytes:
            still[worker.report.device] += worker.report.reserved_bytes
            writers += 1
    return Reserved(bytes=dict(still), writers=writers, loading=loading)


def _writes(actor: Actor) -> bool:
    model = actor.record.model
    task = tasks.find(model.task) if model else None
    return task is not None and task.hf.streamed is not None
