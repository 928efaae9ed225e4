"""The memory that deployments which write may still take: what they keep of texts grows as these come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from modeldeploy.schema.worker import HOST, Reserved
from modeldeploy.supervisor.actor import Actor

_WRITES = "text-generation"  # what keeps keys and values of several texts between calls


def reserved(actors: Iterable[Actor]) -> Reserved:
    """What these may take together."""
    still: Counter[str] = Counter()
    writers = loading = 0
    for actor in actors:
        worker = actor.worker
        if actor.is_loading:
            loading += _will_write_here(actor)
        elif worker and worker.report and not worker.seen.ended:
            still.update(worker.report.reserved)
            writers += HOST in worker.report.reserved
    return Reserved(bytes=dict(still), writers=writers + loading, loading=loading)


def _will_write_here(actor: Actor) -> bool:
    """Whether it will keep them in the host's memory, as far as that is known before."""
    model, device = actor.record.model, actor.record.spec.device
    return model is not None and model.task == _WRITES and not device.startswith("cuda")
