"""What to do next: a pure function of the intent, what is observed, and the time.

:func:`plan` looks at one deployment and answers with the record as it must be from now on and
the actions to perform, in that order: the record is on disk before an action is begun. It is
called again after every observation until nothing changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

from msgspec.structs import replace

from modeldeploy.schema.fetch import ResolvedModel
from modeldeploy.schema.problem import Problem
from modeldeploy.schema.states import Desired, State, move
from modeldeploy.supervisor.record import Record


class Action(str, Enum):
    FETCH = "fetch"
    CANCEL_FETCH = "cancel fetch"
    DISCARD = "remove the unfinished download"
    RESERVE = "reserve the port"
    START = "start worker"
    DRAIN = "drain worker"
    KILL = "kill worker"
    SMOKE = "smoke prediction"
    HOLD = "let new connections wait"
    REFUSE = "refuse new connections"
    RELEASE = "release the port"
    FORGET = "forget"


@dataclass(frozen=True)
class Policy:
    """The times and bounds of supervision, in seconds."""

    start_timeout: float = 600.0
    drain_timeout: float = 30.0
    heartbeat_timeout: float = 15.0
    loading_heartbeat_timeout: float = 120.0
    max_deaths: int = 5
    death_window: float = 600.0
    max_failed_starts: int = 3
    first_pause: float = 0.5
    longest_pause: float = 30.0


@dataclass(frozen=True)
class FetchSeen:
    """The fetcher: under way while it has neither a model nor a problem."""

    model: ResolvedModel | None = None
    problem: Problem | None = None
    cancelled: bool = False

    @property
    def under_way(self) -> bool:
        return self.model is None and self.problem is None


@dataclass(frozen=True)
class WorkerSeen:
    """The worker process. Times are the supervisor's own (:mod:`~modeldeploy.supervisor.clock`), as
    is the planner's ``now``; ``started_at`` is when this supervisor began to watch it.

    ``ended`` says how it died (None: it lives), ``problem`` what it reported before; ``smoke``
    is None until asked, then ``"asked"``, ``"passed"`` or the problem.
    """

    run: int
    started_at: float
    last_heard: float
    ready: bool = False
    problem: Problem | None = None
    ended: Problem | None = None
    drain_since: float | None = None
    killed: bool = False
    smoke: str | Problem | None = None


@dataclass(frozen=True)
class Seen:
    """``discard`` is how far the removal of an unfinished download is, ``can_start`` whether the
    engine takes workers now."""

    fetch: FetchSeen | None = None
    worker: WorkerSeen | None = None
    discard: Literal["asked", "done"] | None = None
    can_start: bool = True


@dataclass(frozen=True)
class Plan:
    """``wake_at`` is when to look again if nothing is observed before; ``cause`` is what a worker is
    killed for, where its end alone would not tell."""

    record: Record
    actions: tuple[Action, ...] = ()
    wake_at: float | None = None
    cause: Problem | None = None


def plan(record: Record, seen: Seen, now: float, policy: Policy) -> Plan:
    """The next step of one deployment.

    Raises:
        IllegalMove: a bug here; the transition table is in ``schema/states.py``.
    """
    if record.desired is not Desired.RUNNING:
        return _towards_stop(record, seen, now, policy)
    worker = seen.worker
    if worker and worker.run < record.run and record.state in _WITH_WORKER:
        return _replace(record, worker, now, policy)
    return _STEPS[record.state](record, seen, now, policy)


_WITH_WORKER = frozenset({State.STARTING, State.RUNNING, State.DRAINING})


def _to(record: Record, state: State, **changes: object) -> Record:
    return replace(record, state=move(record.state, state), **changes)


def _pending(record: Record, seen: Seen, now: float, policy: Policy) -> Plan:
    fresh = _to(record, State.FETCHING, error=None, retry_at=None, ready_at=None)
    return Plan(fresh, (Action.RESERVE, Action.FETCH))


def _fetching(record: Record, seen: Seen, now: float, policy: Policy) -> Plan:
    if seen.fetch is None:
        return Plan(record, (Action.RESERVE, Action.FETCH))
    if seen.fetch.problem:
        return _fail(record, seen.fetch.problem)
    if seen.fetch.model:
        return Plan(_to(record, State.STARTING, model=seen.fetch.model))
    return Plan(record)


def _starting(record: Record, seen: Seen, now: float, policy: Policy) -> Plan:
    worker = seen.worker
    if worker is None or (worker.ended and worker.run < record.run):
        return Plan(record, (Action.START,) if seen.can_start else ())
    if worker.ended:
        return _start_failed(record, worker.problem or worker.ended, now, policy)
    if worker.problem:
        return _fail(record, worker.problem, Action.KILL)
    if not worker.ready:
        return _watch_loading(record, worker, now, policy)
    if worker.smoke is None:
        return Plan(record, (Action.SMOKE,))
    if isinstance(worker.smoke, Problem):
        return _fail(record, worker.smoke, Action.KILL)
    if worker.smoke == "passed":
        running = _to(record, State.RUNNING, failed_starts=0, error=None)
        return Plan(running, wake_at=now + policy.heartbeat_timeout)
    return _watch_heartbeat(record, worker, now, policy)


def _watch_loading(record: Record, worker: WorkerSeen, now: float, policy: Policy) -> Plan:
    if worker.killed:
        return Plan(record)
    if now >= worker.started_at + policy.start_timeout:
        return Plan(record, (Action.KILL,), cause=_too_slow(record, policy.start_timeout))
    patience = policy.loading_heartbeat_timeout
    if now >= worker.last_heard + patience:
        return Plan(record, (Action.KILL,), cause=_silent(record, patience))
    return Plan(
        record, wake_at=min(worker.started_at + policy.start_timeout, worker.last_heard + patience)
    )


def _watch_heartbeat(record: Record, worker: WorkerSeen, now: float, policy: Policy) -> Plan:
    if worker.killed:
        return Plan(record)
    deadline = worker.last_heard + policy.heartbeat_timeout
    if now >= deadline:
        cause = _silent(record, policy.heartbeat_timeout)
        return Plan(record, (Action.KILL,), cause=cause)
    return Plan(record, wake_at=max(deadline, now + policy.heartbeat_timeout / 4))


def _silent(record: Record, seconds: float) -> Problem:
    return Problem(
        code="worker_died",
        message=f"the worker did not say a word for {seconds:g} s and was killed",
        hint=f"see modeldeploy logs {record.name}",
    )


def _too_slow(record: Record, seconds: float) -> Problem:
    return Problem(
        code="start_timeout",
        message=f"the worker was not ready within {seconds:g} s and was killed",
        hint=f"see modeldeploy logs {record.name}; MODELDEPLOY_START_TIMEOUT gives it longer",
    )


def _running(record: Record, seen: Seen, now: float, policy: Policy) -> Plan:
    worker = seen.worker
    if worker is None or worker.ended:
        return _died(record, worker, now, policy)
    return _watch_heartbeat(record, worker, now, policy)


def _died(record: Record, worker: WorkerSeen | None, now: float, policy: Policy) -> Plan:
    cause = worker.ended if worker else None
    recent = tuple(at for at in record.deaths if at > now - policy.death_window)
    deaths = (*recent, now)
    if len(deaths) > policy.max_deaths:
        return _fail(record, _worn_out(cause, len(deaths), policy), deaths=deaths)
    return _back_off(record, now + _pause(len(deaths), policy), cause, deaths=deaths)


def _worn_out(cause: Problem | None, deaths: int, policy: Policy) -> Problem:
    minutes = round(policy.death_window / 60)
    last = cause.message if cause else "the worker was gone"
    return Problem(
        code="worker_died",
        message=f"the worker died {deaths} times within {minutes} minutes; the last time: {last}",
        hint="see modeldeploy logs NAME; modeldeploy start NAME tries again",
        details=list(cause.details) if cause else [],
    )


def _start_failed(record: Record, cause: Problem, now: float, policy: Policy) -> Plan:
    failed = record.failed_starts + 1
    if failed >= policy.max_failed_starts or cause.code not in _WORTH_ANOTHER_TRY:
        return _fail(record, cause, failed_starts=failed)
    return _back_off(record, now + _pause(failed, policy), cause, failed_starts=failed)


_WORTH_ANOTHER_TRY = frozenset({"worker_died", "start_timeout", "internal_error"})


def _back_off(record: Record, until: float, cause: Problem | None, **changes: object) -> Plan:
    waiting = _to(record, State.BACKOFF, retry_at=until, error=cause, replica=None, **changes)
    return Plan(waiting, (Action.HOLD,), wake_at=until)


def _backoff(record: Record, seen: Seen, now: float, policy: Policy) -> Plan:
    if record.retry_at is not None and now < record.retry_at:
        return Plan(record, wake_at=record.retry_at)
    if record.model is None:
        return Plan(_to(record, State.PENDING))
    again = _to(
        record, State.STARTING, retry_at=None, run=record.run + 1, restarts=record.restarts + 1
    )
    return Plan(again, (Action.RESERVE,))


def _pause(times: int, policy: Policy) -> float:
    return min(policy.first_pause * 2.0 ** (times - 1), policy.longest_pause)


def _fail(record: Record, cause: Problem, *first: Action, **changes: object) -> Plan:
    failed = _to(record, State.FAILED, error=cause, retry_at=None, ready_at=None, **changes)
    return Plan(failed, (*first, Action.RELEASE))


def _failed(record: Record, seen: Seen, now: float, policy: Policy) -> Plan:
    worker = seen.worker
    if worker and not worker.ended and not worker.killed:
        return Plan(record, (Action.KILL,))
    if record.replica and (worker is None or worker.ended):
        return Plan(replace(record, replica=None))
    return Plan(record)


def _replace(record: Record, worker: WorkerSeen, now: float, policy: Policy) -> Plan:
    """A newer run is wanted: the old worker answers what it accepted, then makes room."""
    if worker.ended:
        return Plan(_to(_draining(record), State.PENDING, replica=None))
    return _end(_draining(record), worker, now, policy, Action.HOLD)


def _draining(record: Record) -> Record:
    return record if record.state is State.DRAINING else _to(record, State.DRAINING)


def _end(record: Record, worker: WorkerSeen, now: float, policy: Policy, newcomers: Action) -> Plan:
    if worker.killed:
        return Plan(record)
    if worker.drain_since is None:
        return Plan(record, (newcomers, Action.DRAIN), wake_at=now + policy.drain_timeout)
    deadline = worker.drain_since + policy.drain_timeout
    if now >= deadline:
        return Plan(record, (Action.KILL,))
    return Plan(record, wake_at=deadline)


def _resumed(record: Record, seen: Seen, now: float, policy: Policy) -> Plan:
    """DRAINING or STOPPED while running is wanted: the user changed their mind."""
    worker = seen.worker
    if worker and not worker.ended:
        return _end(record, worker, now, policy, Action.HOLD)
    return Plan(_to(record, State.PENDING, replica=None))


def _towards_stop(record: Record, seen: Seen, now: float, policy: Policy) -> Plan:
    worker = seen.worker
    if seen.fetch and seen.fetch.under_way:
        return Plan(record, () if seen.fetch.cancelled else (Action.CANCEL_FETCH,))
    if worker and not worker.ended:
        draining = _draining(record) if record.state in _WITH_WORKER else record
        return _end(draining, worker, now, policy, Action.REFUSE)
    if record.state in _WITH_WORKER:
        return Plan(_to(_draining(record), State.STOPPED, **_AT_REST), (Action.RELEASE,))
    if record.state is not State.STOPPED:
        return Plan(_to(record, State.STOPPED, **_AT_REST), (Action.RELEASE,))
    if record.desired is Desired.REMOVED:
        return _remove(record, seen)
    return Plan(record)


def _remove(record: Record, seen: Seen) -> Plan:
    if record.model is None and seen.discard != "done":
        return Plan(record, () if seen.discard else (Action.DISCARD,))
    return Plan(record, (Action.RELEASE, Action.FORGET))


_AT_REST: dict[str, object] = {"replica": None, "retry_at": None, "ready_at": None, "error": None}

_STEPS = {
    State.PENDING: _pending,
    State.FETCHING: _fetching,
    State.STARTING: _starting,
    State.RUNNING: _running,
    State.BACKOFF: _backoff,
    State.DRAINING: _resumed,
    State.STOPPED: _resumed,
    State.FAILED: _failed,
}
