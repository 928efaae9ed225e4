"""How one deployment comes by its model: the fetch of it, and the discard of what an unfinished one left."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal

from msgspec.structs import replace as replace_struct

from modeldeploy.schema.deployment import HubAccess, Spec
from modeldeploy.schema.fetch import FetchProgress, FetchRequest, ResolvedModel
from modeldeploy.schema.problem import Problem
from modeldeploy.supervisor.fetching import FetchJob
from modeldeploy.supervisor.plan import FetchSeen
from modeldeploy.supervisor.record import Record
from modeldeploy.supervisor.surroundings import Surroundings

log = logging.getLogger(__name__)


class Obtaining:
    """``seen`` and ``discard_seen`` are what the plan is made of; ``on_end`` hears when they changed
    by themselves."""

    def __init__(
        self,
        around: Surroundings,
        on_progress: Callable[[FetchProgress], None],
        on_end: Callable[[], None],
    ) -> None:
        self.seen: FetchSeen | None = None
        self.discard_seen: Literal["asked", "done"] | None = None
        self._around = around
        self._on_progress, self._on_end = on_progress, on_end
        self._job: FetchJob | None = None

    def fetch(self, record: Record, hub: HubAccess) -> None:
        """Begin to fetch the model."""
        self.seen = FetchSeen()
        spec = record.spec
        if record.model and record.model.commit:
            # What was deployed is what is started again, whatever the branch became since.
            spec = replace_struct(spec, revision=record.model.commit)
        self._job = self._ask(record, spec, hub, self._fetched)

    def give_up(self) -> None:
        """Have the fetch end, and see that it was told to."""
        if self._job and self.seen:
            self.seen = replace(self.seen, cancelled=True)
            self._job.cancel()

    def park(self) -> None:
        """Have whatever runs end: the supervisor is ending."""
        if self._job:
            self._job.cancel()

    def discard(self, record: Record, hub: HubAccess) -> None:
        """Another deployment may be waiting to go on with the same download: then it stays."""
        self.discard_seen = "done" if self._around.is_shared(record.spec) else "asked"
        if self.discard_seen == "asked":
            done = partial(self._discarded, record.name)
            self._job = self._ask(record, record.spec, hub, done, discard=True)

    def _ask(
        self,
        record: Record,
        spec: Spec,
        hub: HubAccess,
        on_end: Callable[[ResolvedModel | None, Problem | None], None],
        *,
        discard: bool = False,
    ) -> FetchJob:
        log_file = str(self._around.paths.deployment_log(record.name))
        request = FetchRequest(spec=spec, hub=hub, log=log_file, discard=discard)
        return FetchJob(request, self._around.fetchers, self._on_progress, on_end)

    def _fetched(self, model: ResolvedModel | None, problem: Problem | None) -> None:
        self._job = None
        self.seen = FetchSeen(model, problem) if model or problem else None
        self._on_end()

    def _discarded(self, name: str, model: ResolvedModel | None, problem: Problem | None) -> None:
        if problem:  # it is only disk space; the deployment goes in any case
            log.warning("%s: %s", name, problem.message)
        self._job, self.discard_seen = None, "done"
        self._on_end()
