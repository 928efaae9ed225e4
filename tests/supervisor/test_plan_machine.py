"""Any interleaving of commands, deaths, downloads and time leaves one consistent deployment."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace as with_

from modeldeploy.schema.problem import Problem
from modeldeploy.schema.states import Desired, State
from modeldeploy.supervisor.plan import Action, FetchSeen, WorkerSeen
from tests.supervisor.test_plan import KILLED, MODEL, NO_HEAD, History

OFFLINE = Problem(code="no_network", message="the Hub cannot be reached")
AT_REST = {State.STOPPED, State.FAILED, State.BACKOFF}


class Deployment(RuleBasedStateMachine):
    """One deployment as users, processes and the clock treat it."""

    def __init__(self) -> None:
        super().__init__()
        self.history = History()
        self.forgotten = False
        self._settle()

    def _settle(self) -> None:
        done = self.history.settle()  # it raises if the planner never comes to rest
        self.forgotten = self.forgotten or Action.FORGET in done

    # Commands, as the actor records them.

    @precondition(lambda self: not self.forgotten)
    @rule(again=st.booleans())
    def start(self, again: bool) -> None:
        record = self.history.record
        if again or record.state in {State.STOPPED, State.FAILED}:
            changes: dict[str, object] = {"run": record.run + 1, "deaths": (), "failed_starts": 0}
            if record.state in AT_REST:
                changes |= {"state": State.PENDING, "error": None, "replica": None}
            record = with_(record, retry_at=None, **changes)
        self.history.record = with_(record, desired=Desired.RUNNING)
        self._settle()

    @precondition(lambda self: not self.forgotten)
    @rule(desired=st.sampled_from([Desired.STOPPED, Desired.REMOVED]))
    def end(self, desired: Desired) -> None:
        self.history.record = with_(self.history.record, desired=desired)
        self._settle()

    # What is observed.

    @precondition(lambda self: self.history.fetch and self.history.fetch.under_way)
    @rule(how=st.sampled_from(["model", "problem"]))
    def the_fetcher_ends(self, how: str) -> None:
        fetch = self.history.fetch
        assert fetch is not None
        if fetch.cancelled:
            self.history.fetch = None
        elif how == "model":
            self.history.fetch = FetchSeen(model=MODEL)
        else:
            self.history.fetch = FetchSeen(problem=OFFLINE)
        self._settle()

    @precondition(lambda self: self.history.discard == "asked")
    @rule()
    def the_download_is_discarded(self) -> None:
        self.history.discard = "done"
        self._settle()

    def _alive(self) -> WorkerSeen | None:
        worker = self.history.worker
        return worker if worker and not worker.ended else None

    @precondition(lambda self: self._alive())
    @rule(what=st.sampled_from(["ready", "failed", "heard"]))
    def the_worker_reports(self, what: str) -> None:
        changes: dict[str, object] = {"last_heard": self.history.now}
        if what == "ready":
            changes["ready"] = True
        elif what == "failed":
            changes["problem"] = NO_HEAD
        self.history.see(**changes)
        self._settle()

    @precondition(lambda self: self._alive() and self._alive().smoke == "asked")
    @rule(passed=st.booleans())
    def the_smoke_prediction_ends(self, passed: bool) -> None:
        self.history.see(smoke="passed" if passed else NO_HEAD)
        self._settle()

    @precondition(lambda self: self._alive())
    @rule()
    def the_worker_dies(self) -> None:
        self.history.see(ended=KILLED)
        self._settle()

    @rule(seconds=st.sampled_from([0.1, 1.0, 20.0, 700.0]))
    def time_passes(self, seconds: float) -> None:
        self.history.now += seconds
        if not self.forgotten:
            self._settle()

    @precondition(lambda self: not self.forgotten)
    @rule()
    def the_supervisor_is_replaced(self) -> None:
        """Its fetcher ends with it; a live worker is adopted, a dead one is not remembered."""
        history = self.history
        history.fetch, history.discard = None, None
        worker, record = self._alive(), history.record
        if worker and record.replica:
            history.worker = replace(worker, smoke=None, drain_since=None, last_heard=history.now)
        else:
            history.worker = None
            if record.desired is Desired.RUNNING and record.state is not State.FAILED:
                record = with_(record, state=State.PENDING, run=record.run + 1, replica=None)
            history.record = record
        self._settle()

    # What holds.

    @invariant()
    def a_state_has_what_it_needs(self) -> None:
        record, worker = self.history.record, self._alive()
        if self.forgotten:
            assert worker is None
            assert record.desired is Desired.REMOVED
        if record.state is State.RUNNING:
            assert worker
            assert worker.ready
        if record.state in {State.STOPPED, State.BACKOFF}:
            assert worker is None
        if record.state in {State.PENDING, State.FETCHING, State.FAILED}:
            assert worker is None or worker.killed  # on its way out: nothing can be asked of it
        assert (record.error is not None) >= (record.state is State.FAILED)

    def teardown(self) -> None:
        """Left alone, with everything ending well, it becomes what was asked for."""
        for _ in range(60):
            if self.forgotten or self._at_rest():
                break
            self._go_on()
        record = self.history.record
        wanted = {Desired.RUNNING: {State.RUNNING, State.FAILED}, Desired.STOPPED: {State.STOPPED}}
        assert self.forgotten or record.state in wanted[record.desired], record

    def _at_rest(self) -> bool:
        record = self.history.record
        if record.desired is Desired.RUNNING:
            return record.state is State.RUNNING
        return record.state is State.STOPPED and record.desired is Desired.STOPPED

    def _go_on(self) -> None:
        history, worker = self.history, self._alive()
        if history.fetch and history.fetch.under_way:
            history.fetch = None if history.fetch.cancelled else FetchSeen(model=MODEL)
        elif history.discard == "asked":
            history.discard = "done"
        elif worker and (worker.killed or worker.drain_since or worker.problem):
            history.see(ended=KILLED)
        elif worker and worker.smoke == "asked":
            history.see(smoke="passed")
        elif worker:
            history.see(ready=True, last_heard=history.now)
        history.now += 1.0
        self._settle()


TestDeployment = pytest.mark.promise(
    6, fault="any interleaving of commands, deaths, downloads and time (the planner alone)"
)(Deployment.TestCase)
TestDeployment.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, derandomize=True
)
