"""The planner, by replayed histories: no process, no clock, no disk."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import pytest
from msgspec.structs import replace as with_

from modeldeploy.schema.deployment import Spec
from modeldeploy.schema.fetch import ResolvedModel
from modeldeploy.schema.problem import Problem
from modeldeploy.schema.states import Desired, IllegalMove, State, move
from modeldeploy.supervisor.plan import Action, FetchSeen, Policy, Seen, WorkerSeen, plan
from modeldeploy.supervisor.processes import Identity
from modeldeploy.supervisor.record import Record, ReplicaRecord

MODEL = ResolvedModel(
    model_id="org/m",
    commit="c" * 40,
    snapshot="/m",
    task="echo",
    model_type="nlp",
    architectures=[],
    weights_bytes=1,
    total_bytes=1,
    downloaded_bytes=1,
)
KILLED = Problem(code="worker_died", message="the worker process was killed by SIGKILL")
NO_HEAD = Problem(code="wrong_task", message="the checkpoint has no such head")


@dataclass
class History:
    """A deployment with a make-believe executor: actions change what is seen, as real ones do."""

    record: Record = field(
        default_factory=lambda: Record(
            name="m",
            spec=Spec(model_id="org/m", cache_dir="/c"),
            desired=Desired.RUNNING,
            state=State.PENDING,
            created_at=0.0,
        )
    )
    now: float = 1000.0
    policy: Policy = field(default_factory=Policy)
    fetch: FetchSeen | None = None
    worker: WorkerSeen | None = None
    discard: Literal["asked", "done"] | None = None
    done: list[Action] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    wake_at: float | None = None
    cause: Problem | None = None

    def settle(self) -> list[Action]:
        """Plan and act until nothing changes; the actions of this round."""
        before = len(self.done)
        for _ in range(50):
            step = plan(
                self.record, Seen(self.fetch, self.worker, self.discard), self.now, self.policy
            )
            changed = step.record != self.record
            if step.record.state is not self.record.state:
                self.states.append(step.record.state)
            self.record = step.record
            if changed and self.worker and self.worker.ended and self.record.replica is None:
                self.worker = None
            self.cause = step.cause or self.cause
            for action in step.actions:
                self._act(action)
            self.wake_at = step.wake_at
            if Action.FORGET in step.actions or not (changed or step.actions):
                return self.done[before:]
        raise AssertionError(f"the planner never settles: {self.done[-10:]}")

    def _act(self, action: Action) -> None:
        self.done.append(action)
        if action is Action.FETCH:
            self.fetch = FetchSeen()
        elif action is Action.CANCEL_FETCH:
            assert self.fetch is not None
            self.fetch = replace(self.fetch, cancelled=True)
        elif action is Action.DISCARD:
            self.discard = "asked"
        elif action is Action.START:
            assert self.worker is None or self.worker.ended
            self.fetch = None
            self.worker = WorkerSeen(self.record.run, self.now, self.now)
            identity = Identity(7, 1.0, "b", "n")
            self.record = with_(
                self.record,
                replica=ReplicaRecord(
                    id="r", identity=identity, started_at=self.now, run=self.record.run
                ),
            )
        elif action is Action.SMOKE:
            self.see(smoke="asked")
        elif action is Action.DRAIN:
            self.see(drain_since=self.now)
        elif action is Action.KILL:
            self.see(killed=True)

    def see(self, **changes: object) -> History:
        assert self.worker is not None
        self.worker = replace(self.worker, **changes)  # type: ignore[arg-type]  # names as given
        return self

    def fetched(self) -> History:
        self.settle()
        self.fetch = FetchSeen(model=MODEL)
        self.settle()
        return self

    def running(self) -> History:
        if self.worker is None:
            self.fetched()
        self.see(ready=True).settle()
        self.see(smoke="passed").settle()
        assert self.record.state is State.RUNNING
        return self

    def dies(self, cause: Problem = KILLED) -> History:
        self.see(ended=cause).settle()
        return self


def test_a_deploy_walks_all_states_to_running() -> None:
    history = History().running()
    assert history.states == [State.FETCHING, State.STARTING, State.RUNNING]
    assert history.done == [Action.RESERVE, Action.FETCH, Action.START, Action.SMOKE]


def test_the_smoke_prediction_is_asked_once_and_its_failure_fails_the_deployment() -> None:
    history = History().fetched()
    history.see(ready=True).settle()
    history.settle()
    assert history.done.count(Action.SMOKE) == 1
    history.see(smoke=Problem(code="smoke_failed", message="500")).settle()
    assert history.record.state is State.FAILED
    assert history.done[-2:] == [Action.KILL, Action.RELEASE]


def test_a_failed_download_is_not_tried_again_by_itself() -> None:
    history = History()
    history.settle()
    history.fetch = FetchSeen(problem=Problem(code="gated_model", message="gated"))
    history.settle()
    assert history.record.state is State.FAILED
    assert history.record.error is not None
    assert history.record.error.code == "gated_model"
    history.now += 10**6
    assert history.settle() == []


def test_a_dead_worker_is_replaced_after_growing_pauses() -> None:
    history = History().running()
    pauses = []
    for _ in range(4):
        history.dies()
        assert history.record.state is State.BACKOFF
        assert history.done[-1] is Action.HOLD
        assert history.wake_at is not None
        pauses.append(history.wake_at - history.now)
        history.now = history.wake_at - 0.001
        assert history.settle() == []
        history.now += 0.001
        assert Action.START in history.settle()
        history.running()
    assert pauses == pytest.approx([0.5, 1.0, 2.0, 4.0])
    assert history.record.restarts == 4


@pytest.mark.promise(2, fault="six deaths within ten minutes (the planner alone)")
def test_more_than_five_deaths_within_ten_minutes_fail_it_with_the_cause() -> None:
    history = History().running()
    for _ in range(5):
        history.dies()
        history.now += 60
        history.settle()
        history.running()
    history.dies()
    assert history.record.state is State.FAILED
    assert history.record.error is not None
    assert "SIGKILL" in history.record.error.message


def test_deaths_that_are_far_apart_never_fail_it() -> None:
    history = History().running()
    for _ in range(40):
        history.dies()
        assert history.record.state is State.BACKOFF
        history.now += 130
        history.settle()
        history.running()
    assert len(history.record.deaths) <= 5


@pytest.mark.promise(2, fault="a start that fails three times (the planner alone)")
def test_a_start_that_fails_three_times_ends_in_failed() -> None:
    history = History().fetched()
    for _ in range(2):
        history.dies()
        assert history.record.state is State.BACKOFF
        history.now += 60
        history.settle()
    history.dies()
    assert history.record.state is State.FAILED
    assert history.done.count(Action.START) == 3


def test_what_is_wrong_with_the_model_fails_it_at_once() -> None:
    history = History().fetched()
    history.see(problem=NO_HEAD).settle()
    assert history.record.state is State.FAILED
    assert history.record.error == NO_HEAD
    assert Action.KILL in history.done


def test_a_hung_worker_is_killed_and_replaced_and_a_talking_one_is_not() -> None:
    history = History().running()
    for _ in range(100):
        history.now += 10
        history.see(last_heard=history.now).settle()
    assert Action.KILL not in history.done
    history.now += history.policy.heartbeat_timeout
    assert history.settle() == [Action.KILL]
    assert history.settle() == []
    assert history.wake_at is None, "its end is noticed without a look at the clock"
    assert history.cause is not None
    assert "did not say a word for 15 s" in history.cause.message
    history.dies()
    assert history.record.state is State.BACKOFF


def test_a_start_that_takes_too_long_is_killed() -> None:
    history = History(policy=Policy(start_timeout=100)).fetched()
    for _ in range(10):
        history.now += 9.9
        assert history.see(last_heard=history.now).settle() == []
    history.now += 2
    assert history.settle() == [Action.KILL]
    assert history.cause is not None
    assert history.cause.code == "start_timeout"
    assert "not ready within 100 s" in history.cause.message


def test_a_start_that_says_nothing_is_killed() -> None:
    history = History().fetched()
    history.now += history.policy.loading_heartbeat_timeout
    assert history.settle() == [Action.KILL]
    assert history.cause is not None
    assert "did not say a word for 120 s" in history.cause.message


@pytest.mark.promise(
    2, fault="the clock was set back before the next supervisor (the planner alone)"
)
def test_deaths_in_the_future_are_just_now_and_pass() -> None:
    history = History().running()
    later = history.now + 6 * 3600
    history.record = with_(history.record, deaths=(later,) * 5).taken_up(history.now)
    history.now += history.policy.death_window + 1
    history.dies()
    assert history.record.state is State.BACKOFF


def test_stop_refuses_newcomers_drains_and_then_kills() -> None:
    history = History().running()
    history.record = with_(history.record, desired=Desired.STOPPED)
    assert history.settle() == [Action.REFUSE, Action.DRAIN]
    assert history.states[-1] is State.DRAINING
    history.now += history.policy.drain_timeout
    assert history.settle() == [Action.KILL]
    history.dies()
    assert history.record.state is State.STOPPED
    assert history.done[-1] is Action.RELEASE
    assert history.settle() == []


@pytest.mark.parametrize("desired", [Desired.STOPPED, Desired.REMOVED])
def test_a_download_is_cancelled_before_anything_else(desired: Desired) -> None:
    history = History()
    history.settle()
    history.record = with_(history.record, desired=desired)
    assert history.settle() == [Action.CANCEL_FETCH]
    history.fetch = None
    history.settle()
    assert history.record.state is State.STOPPED
    if desired is Desired.REMOVED:
        assert history.done[-1] is Action.DISCARD
        history.discard = "done"
        assert history.settle() == [Action.RELEASE, Action.FORGET]
    assert history.settle() == [] or desired is Desired.REMOVED


def test_what_was_whole_once_is_forgotten_and_stays_cached() -> None:
    history = History().running()
    history.record = with_(history.record, desired=Desired.REMOVED)
    history.settle()
    history.see(ended=KILLED)
    history.settle()
    assert history.done[-1] is Action.FORGET
    assert Action.DISCARD not in history.done


def test_restart_lets_newcomers_wait_and_starts_a_fresh_worker() -> None:
    history = History().running()
    history.record = with_(history.record, run=history.record.run + 1)
    assert history.settle() == [Action.HOLD, Action.DRAIN]
    history.dies()
    assert history.record.state is State.FETCHING
    history.fetched().running()
    assert history.done.count(Action.START) == 2


def test_start_after_stop_changes_its_mind_midway() -> None:
    history = History().running()
    history.record = with_(history.record, desired=Desired.STOPPED)
    history.settle()
    history.record = with_(history.record, desired=Desired.RUNNING)
    history.settle()
    history.dies()
    assert history.record.state is State.FETCHING


def test_a_stopped_deployment_stays_stopped() -> None:
    history = History().running()
    history.record = with_(history.record, desired=Desired.STOPPED)
    history.settle()
    history.dies()
    history.now += 10**7
    assert history.settle() == []
    assert history.record.state is State.STOPPED


def test_a_move_that_the_table_does_not_know_raises() -> None:
    with pytest.raises(IllegalMove):
        move(State.STOPPED, State.RUNNING)
