"""Another version was here before: its state is read as it was meant, its workers go on."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from modeldeploy.schema.states import Desired, State
from modeldeploy.supervisor.migrations import MIGRATIONS
from modeldeploy.supervisor.store import Store
from tests.e2e.instance import Instance, eventually, post
from tests.faults import strange
from tests.faults.load import Load

# As the first supervisor wrote it (November 24th, 2026), statement by statement.
FIRST = """
CREATE TABLE deployments (
    name TEXT PRIMARY KEY,
    created_at REAL NOT NULL,
    body BLOB NOT NULL
) STRICT;
PRAGMA user_version=1;
PRAGMA journal_mode=WAL;
"""
SPEC: dict[str, Any] = {
    "model_id": "org/model",
    "revision": None,
    "task": None,
    "model_type": None,
    "device": "auto",
    "dtype": "auto",
    "port": None,
    "cache_dir": "/cache",
    "trust_remote_code": False,
    "allow_pickle": False,
    "force_gpu": False,
    "download_timeout": 1800.0,
}
MODEL: dict[str, Any] = {
    "model_id": "org/model",
    "commit": None,
    "snapshot": "/cache/model",
    "task": "echo",
    "model_type": "nlp",
    "architectures": ["Echo"],
    "weights_bytes": 0,
    "total_bytes": 0,
    "downloaded_bytes": 0,
}
AT_REST: dict[str, Any] = {
    "run": 3,
    "replica": None,
    "ready_at": None,
    "deaths": [],
    "failed_starts": 0,
    "restarts": 1,
    "retry_at": None,
    "error": None,
}
DEAD_WORKER: dict[str, Any] = {
    "id": "0123456789ab",
    "identity": {"pid": 4194304, "start": 12345.0, "boot": "b", "namespace": "pid:[1]"},
    "started_at": 1764000000.25,
    "run": 3,
}


def body(name: str, desired: str, state: str, **changes: Any) -> dict[str, Any]:
    """A record of the first format."""
    return {
        "name": name,
        "spec": SPEC,
        "desired": desired,
        "state": state,
        "created_at": 1764000000.25,
        "port": None,
        "model": MODEL,
        **AT_REST,
        **changes,
    }


def write(file: Path, *bodies: dict[str, Any]) -> None:
    with contextlib.closing(sqlite3.connect(file)) as db:
        db.executescript(FIRST)
        rows = [(one["name"], one["created_at"], json.dumps(one).encode()) for one in bodies]
        with db:
            db.executemany("INSERT INTO deployments VALUES (?, ?, ?)", rows)


def version(file: Path) -> int:
    with contextlib.closing(sqlite3.connect(file)) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


@pytest.mark.promise(10, fault="the state is of each format that there was")
def test_every_deployment_of_older_state_is_kept_as_it_was_meant(tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    failed = {"code": "worker_died", "message": "it died", "hint": "h", "details": ["one", "two"]}
    write(
        file,
        body("runs", "running", "RUNNING", port=8101, replica=DEAD_WORKER, ready_at=1764000001.5),
        body("stopped", "stopped", "STOPPED", port=8102),
        body("broken", "running", "FAILED", error=failed, deaths=[1764000000.1], model=None),
        body("equal", "running", "RUNNING", spec={**SPEC, "optimize": True}),
        body("plain", "running", "RUNNING", spec={**SPEC, "optimize": False}),
        body("close", "running", "RUNNING", spec={**SPEC, "optimize": "close"}),
    )
    for _ in range(2):  # once migrated, it is read as it is
        store = Store(file)
        found = {record.name: record for record in store.records()}
        store.close()
        assert version(file) == len(MIGRATIONS)
        assert len(found) == 6
        runs, stopped, broken = found["runs"], found["stopped"], found["broken"]
        assert (runs.desired, runs.state, runs.port) == (Desired.RUNNING, State.RUNNING, 8101)
        assert runs.replica
        assert (runs.replica.id, runs.replica.identity.start) == ("0123456789ab", 12345.0)
        assert (runs.ready_at, runs.restarts, runs.run) == (1764000001.5, 1, 3)
        assert (runs.keys, runs.spec.host, runs.endpoint) == ((), "127.0.0.1", None)
        assert (stopped.desired, stopped.port) == (Desired.STOPPED, 8102)
        assert broken.error
        assert (broken.error.code, broken.error.details) == ("worker_died", ["one", "two"])
        assert broken.deaths == (1764000000.1,)
        assert [found[name].spec.optimize for name in ("runs", "equal", "plain", "close")] == [
            "equal",
            "equal",
            "no",
            "close",
        ]


@pytest.mark.promise(10, fault="a step from an older format to a newer one fails half-way")
def test_a_migration_that_fails_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "state.db"
    write(file, body("e", "stopped", "STOPPED"))
    half = "UPDATE deployments SET body = CAST('{}' AS BLOB); INSERT INTO nowhere VALUES (1);"
    monkeypatch.setattr("modeldeploy.supervisor.store.MIGRATIONS", (*MIGRATIONS, half))
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        Store(file)
    monkeypatch.undo()
    store = Store(file)
    assert store.set_aside is None
    assert [record.name for record in store.records()] == ["e"]
    store.close()


@pytest.mark.e2e
@pytest.mark.promise(9, fault="the state is of the first format, and its workers are dead")
def test_deployments_of_an_older_version_come_back(instance: Instance, echo_model: str) -> None:
    state = instance.home / "state"
    state.mkdir(parents=True, mode=0o700)
    spec = {**SPEC, "model_id": echo_model, "cache_dir": str(instance.home.parent / "hub")}
    model = {**MODEL, "model_id": echo_model, "snapshot": echo_model}
    low, _ = instance.ports
    write(
        state / "state.db",
        body("runs", "running", "RUNNING", spec=spec, model=model, port=low, replica=DEAD_WORKER),
        body("stopped", "stopped", "STOPPED", spec=spec, model=model, port=low + 1),
    )
    instance.run("wait", "runs")
    assert post(f"http://127.0.0.1:{low}/predict", {"text": "x"})[0] == 200
    assert instance.client.deployment("stopped").state is State.STOPPED
    instance.run("start", "stopped")
    assert instance.client.deployment("stopped").port == low + 1
    assert version(state / "state.db") == len(MIGRATIONS)


@pytest.mark.e2e
@pytest.mark.promise(1, fault="a supervisor of this version takes over workers of the first")
def test_workers_of_the_first_version_are_adopted_under_load(
    instance: Instance, echo_model: str
) -> None:
    with strange.supervised(instance, "first"):
        instance.ask_for(echo_model, "e")
        before = instance.client.wait("e")
        assert before.replicas[0].threads is None, "it reports what came later"
        with Load(str(before.url)) as load:
            load.goes_on()
            instance.run("daemon", "restart")
            load.goes_on(50)
        load.assert_all_answered()
    pid = instance.client.deployment("e").replicas[0].pid
    assert pid == before.replicas[0].pid
    os.kill(pid, signal.SIGKILL)  # it is replaced like any other, by one of ours
    eventually(lambda: [r for r in instance.client.wait("e").replicas if r.threads])
    assert instance.client.deployment("e").port == before.port
    assert post(f"{before.url}/predict", {"text": "x"})[0] == 200


@pytest.mark.e2e
@pytest.mark.promise(1, fault="a supervisor takes over workers whose reports it cannot read")
def test_workers_that_speak_otherwise_are_replaced_under_load(
    instance: Instance, echo_model: str
) -> None:
    with strange.supervised(instance, "foreign"):
        instance.ask_for(echo_model, "e")
        old = eventually(lambda: instance.client.deployment("e").replicas)[0].pid
        url = instance.client.deployment("e").url
        eventually(lambda: _answers(f"{url}/predict"))
        with Load(str(url), delay=0.05) as load:
            load.goes_on()
            instance.run("daemon", "restart")
            eventually(lambda: [r for r in instance.client.wait("e").replicas if r.pid != old])
            load.goes_on(50)
        load.assert_all_answered()
    assert instance.client.deployment("e").url == url


def _answers(url: str) -> bool:
    try:
        return post(url, {"text": "x"})[0] == 200
    except OSError:
        return False


@pytest.mark.e2e
@pytest.mark.promise(10, fault="an older modeldeploy is called where a newer one's workers serve")
def test_a_newer_version_s_state_and_workers_are_left_alone(
    instance: Instance, echo_model: str
) -> None:
    file = instance.home / "state" / "state.db"
    instance.run("daemon", "start")
    instance.ask_for(echo_model, "e")
    found = instance.client.wait("e")
    with Load(str(found.url)) as load:
        os.kill(instance.daemon_pid(), signal.SIGKILL)
        _set_version(file, len(MIGRATIONS) + 1)
        before = file.read_bytes()
        refused = instance.run("ls", ok=False)
        assert refused.returncode != 0
        assert "newer modeldeploy" in refused.stdout + refused.stderr
        assert file.read_bytes() == before
        load.goes_on()
        _set_version(file, len(MIGRATIONS))  # the newer one is back
        instance.run("daemon", "start")
        load.goes_on()
    load.assert_all_answered()
    assert instance.client.deployment("e").replicas[0].pid == found.replicas[0].pid


def _set_version(file: Path, number: int) -> None:
    with contextlib.closing(sqlite3.connect(file)) as db:
        db.execute(f"PRAGMA user_version={number}")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
