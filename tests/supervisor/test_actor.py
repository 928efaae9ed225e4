"""What an actor says of itself to who ends the supervisor."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from msgspec.structs import replace

from modeldeploy.schema.deployment import HubAccess, Spec
from modeldeploy.schema.states import Desired, State
from modeldeploy.supervisor.actor import Actor
from modeldeploy.supervisor.plan import WorkerSeen
from modeldeploy.supervisor.ports import PortPool
from modeldeploy.supervisor.processes import Identity
from modeldeploy.supervisor.record import Record, ReplicaRecord


def starting() -> Any:
    """An actor whose worker is to be started."""
    record = Record(
        name="a",
        spec=Spec(model_id="gpt2", cache_dir="/c"),
        desired=Desired.RUNNING,
        state=State.STARTING,
        created_at=1.0,
        run=3,
    )
    around: Any = SimpleNamespace(ports=PortPool(20000, 60000), ports_in_use=set)
    return Actor(record, around, HubAccess())


def test_a_queue_is_held_until_the_next_worker_is_on_record() -> None:
    actor = starting()
    record = actor.record
    reserved = actor._berth.reserve(record)
    try:
        assert not actor.holds_a_queue, "nobody can wait there"
        reserved.listen()
        assert actor.holds_a_queue
        replica = ReplicaRecord(
            id="0123456789ab", identity=Identity(1, 1.0, "", ""), started_at=1.0, run=3
        )
        seen = WorkerSeen(run=3, started_at=1.0, last_heard=1.0)
        actor.worker = SimpleNamespace(record=replica, seen=seen)
        assert actor.holds_a_queue, "it would die with us"
        actor.record = replace(record, replica=replica)
        assert not actor.holds_a_queue
    finally:
        reserved.close()


def report(phase: str) -> Any:
    return SimpleNamespace(phase=phase)


def test_it_loads_from_the_start_of_a_worker_until_that_says_otherwise() -> None:
    actor = starting()
    assert not actor.is_loading
    actor._starting = object()
    assert actor.is_loading
    alive, dead = SimpleNamespace(ended=None), SimpleNamespace(ended=object())
    for told, loads in ((None, True), ("loading", True), ("ready", False), ("draining", False)):
        actor.worker = SimpleNamespace(seen=alive, report=told and report(told))
        assert actor.is_loading is loads
    actor.worker = SimpleNamespace(seen=dead, report=report("loading"))
    assert actor.is_loading, "its successor is being started"
    actor._starting = None
    assert not actor.is_loading
