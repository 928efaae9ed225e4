"""What the store keeps of one deployment: the intent, and how far it came."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from modeldeploy.schema.deployment import Spec
from modeldeploy.schema.fetch import ResolvedModel
from modeldeploy.schema.keys import ApiKey, NewKey
from modeldeploy.schema.problem import Problem
from modeldeploy.schema.states import Desired, State
from modeldeploy.supervisor.processes import Identity


class ReplicaRecord(Struct, frozen=True, kw_only=True):
    """A worker that was started: enough to find it again, and to know it from a stranger."""

    id: str
    identity: Identity
    started_at: float
    run: int


class StoredKey(NewKey, frozen=True, kw_only=True):
    """An API key that is answered; its ``id`` is the beginning of its digest."""

    created_at: float

    @property
    def id(self) -> str:
        return self.digest[:12]

    def shown(self, *, in_force: bool = True) -> ApiKey:
        return ApiKey(id=self.id, label=self.label, created_at=self.created_at, in_force=in_force)


class Record(Struct, frozen=True, kw_only=True):
    """One deployment. Times are Unix seconds: ``deaths`` and ``retry_at`` by the supervisor's own clock
    (:mod:`~modeldeploy.supervisor.clock`), what is shown by the wall's.

    ``run`` grows at each start that a worker gets; a live replica of an older run is replaced.
    ``deaths`` are the recent ends of workers that had been ready, ``failed_starts`` the
    consecutive ends of workers that never were, ``endpoint`` is the Hub that it came from.
    """

    name: str
    spec: Spec
    desired: Desired
    state: State
    created_at: float
    port: int | None = None
    model: ResolvedModel | None = None
    run: int = 1
    replica: ReplicaRecord | None = None
    ready_at: float | None = None
    deaths: tuple[float, ...] = ()
    failed_starts: int = 0
    restarts: int = 0
    retry_at: float | None = None
    error: Problem | None = None
    endpoint: str | None = None
    keys: tuple[StoredKey, ...] = ()

    def anew(self) -> Record:
        """With a fresh run, whatever went wrong before."""
        record = replace(self, run=self.run + 1, deaths=(), failed_starts=0, retry_at=None)
        if record.state in {State.STOPPED, State.FAILED, State.BACKOFF}:
            return replace(record, state=State.PENDING, error=None, replica=None)
        return record

    def taken_up(self, now: float) -> Record:
        """By the next supervisor. What the clock of the one before has in the future, for it was set
        back since, was just now at the latest."""
        return replace(self, deaths=tuple(min(at, now) for at in self.deaths))
