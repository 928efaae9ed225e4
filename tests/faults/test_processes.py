"""Processes are killed, stopped and impersonated. Through each test another deployment answers
every request (the fixture ``pair``)."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from modeldeploy.schema.states import State
from modeldeploy.supervisor import processes
from modeldeploy.supervisor.store import Store
from tests.e2e.instance import Instance, eventually, post
from tests.faults import strange
from tests.faults.conftest import Pair
from tests.faults.load import Kind, Load

pytestmark = pytest.mark.e2e


def is_gone(pid: int) -> bool:
    return processes.identify(pid) is None


@contextlib.contextmanager
def under_way(pair: Pair, count: int, delay: float) -> Iterator[list[object]]:
    """So many requests that the victim has accepted; what became of them, after ``with``."""
    url, fates = pair.victim.url, list[object]()

    def ask() -> None:
        try:
            fates.append(post(f"{url}/predict", {"text": "x", "delay": delay}, timeout=30)[0])
        except OSError as error:
            fates.append(error)

    clients = [threading.Thread(target=ask) for _ in range(count)]
    for client in clients:
        client.start()
    eventually(lambda: pair.victim.replicas[0].requests >= count)
    yield fates
    for client in clients:
        client.join()


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Meanwhile that process does nothing."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.promise(
    3, fault="a worker is killed with requests under way, and its supervisor does nothing"
)
def test_requests_on_a_dead_worker_end_at_once_and_none_is_run_twice(pair: Pair) -> None:
    pair.instance.client.restart("victim")  # its count begins at none
    pair.instance.client.wait("victim")
    eventually(lambda: pair.victim.replicas[0].requests == 1)  # the smoke prediction
    old = pair.pid()
    with under_way(pair, 4, delay=20) as fates, stopped(pair.instance.daemon_pid()):
        os.kill(old, signal.SIGKILL)
        eventually(lambda: len(fates) == 4, 5)  # nobody but the kernel had a hand in it
    assert all(isinstance(fate, OSError) for fate in fates), fates
    eventually(lambda: pair.pid() != old)
    assert post(f"{pair.victim.url}/predict", {"text": "y"})[0] == 200
    eventually(lambda: pair.victim.replicas[0].requests == 2)


@pytest.mark.promise(4, fault="a worker is stopped (SIGSTOP)")
@pytest.mark.promise(2, fault="a worker hangs and is killed by its supervisor")
def test_a_stopped_worker_is_found_killed_and_replaced(pair: Pair) -> None:
    old, port = pair.pid(), pair.victim.port
    os.kill(old, signal.SIGSTOP)
    eventually(lambda: is_gone(old))
    eventually(lambda: pair.pid() != old)
    assert pair.victim.port == port
    assert post(f"{pair.victim.url}/predict", {"text": "after"})[0] == 200
    told = (pair.instance.home / "logs" / "supervisor.log").read_text()
    assert "victim is BACKOFF: the worker did not say a word for 2 s and was killed" in told


@pytest.mark.promise(4, fault="a worker computes for longer than the heartbeat's patience")
def test_a_busy_worker_is_left_alone(pair: Pair) -> None:
    before = pair.pid()
    assert post(f"{pair.victim.url}/predict", {"text": "x", "delay": 3.5})[0] == 200
    assert pair.pid() == before


@pytest.mark.promise(4, fault="a call of the model waits for ever, and the heart beats on")
@pytest.mark.promise(17, fault="an input on which the model waits for ever")
def test_a_deadlocked_worker_is_found_and_replaced(instance: Instance, echo_model: str) -> None:
    instance.env["MODELDEPLOY_REQUEST_TIMEOUT"] = "1"
    with strange.supervised(instance, "deadlocked"):
        instance.ask_for(echo_model, "e")
        found = instance.client.wait("e")
        assert post(f"{found.url}/predict", {"text": strange.DEADLOCK})[0] == 504
        assert post(f"{found.url}/predict", {"text": "behind it"})[0] in {503, 504}
        eventually(lambda: instance.client.deployment("e").restarts)
        assert post(f"{found.url}/predict", {"text": "x"})[0] == 200
        log = instance.run("logs", "e").stdout
        assert "a call of the model hangs" in log
        assert "in core" in log, "where it hung"
        instance.run("daemon", "stop")


@pytest.mark.promise(5, fault="a deployment is stopped whose worker hears no signal (SIGSTOP)")
def test_stop_ends_a_worker_that_hears_nothing(pair: Pair) -> None:
    pid, port = pair.pid(), pair.victim.port
    os.kill(pid, signal.SIGSTOP)
    pair.instance.run("stop", "victim")
    assert is_gone(pid)
    assert pair.victim.state is State.STOPPED
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # past what fades away
        free.bind(("127.0.0.1", port or 0))


@pytest.mark.promise(5, fault="a deployment is removed, and another restarted, under load")
def test_restart_and_removal_answer_what_was_accepted_and_leave_nothing(pair: Pair) -> None:
    instance, url, replica = pair.instance, str(pair.victim.url), pair.victim.replicas[0].id
    with Load(url, delay=0.05) as load:
        load.goes_on()
        instance.run("restart", "victim")
        load.goes_on()
        replica = pair.victim.replicas[0].id
        pid = pair.pid()
        instance.run("rm", "-f", "victim")
    refused = load.count(Kind.UNREACHABLE)
    assert load.count() + refused == len(load.fates), load.kinds()
    assert is_gone(pid)
    left = [file.name for file in instance.home.rglob("*") if replica in file.name]
    assert not left
    assert not (instance.home / "logs" / "deployments" / "victim.log").exists()


@pytest.mark.promise(5, fault="a deployment is stopped and started again and again under load")
def test_stops_break_no_connection(pair: Pair) -> None:
    with Load(str(pair.victim.url), clients=12) as load:
        for _ in range(8):
            load.goes_on(50)
            for command in (pair.instance.client.stop, pair.instance.client.start):
                command("victim")
                pair.instance.client.wait("victim", timeout=60)
    kinds = {fate.kind for fate in load.fates}
    assert Kind.ANSWERED in kinds
    broken = [fate for fate in load.fates if fate.kind not in {Kind.ANSWERED, Kind.UNREACHABLE}]
    assert not broken, (load.kinds(), broken[:3])


@pytest.mark.promise(8, fault="a stranger listens on the port of a stopped deployment")
def test_a_stranger_on_a_remembered_port_is_not_taken_for_ours(pair: Pair) -> None:
    port = pair.victim.port or 0
    pair.instance.run("stop", "victim")
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(("127.0.0.1", port))
        stranger.listen()
        pair.instance.run("start", "victim")
        assert pair.victim.state is State.RUNNING
        assert pair.victim.port != port
        assert post(f"{pair.victim.url}/predict", {"text": "x"})[0] == 200


@pytest.mark.promise(1, fault="the supervisor and a worker are killed together")
@pytest.mark.promise(7, fault="the supervisor was killed: its socket, lock and pid file lie there")
def test_what_a_dead_supervisor_left_blocks_nobody(pair: Pair) -> None:
    instance, kept, old = pair.instance, pair.pid("bystander"), pair.pid()
    os.kill(instance.daemon_pid(), signal.SIGKILL)
    os.kill(old, signal.SIGKILL)
    assert (instance.home / "run" / "control.sock").is_socket()
    assert (instance.home / "run" / "supervisor.lock").read_text().strip()
    starters = [instance.start("daemon", "start") for _ in range(6)]
    assert [starter.wait(60) for starter in starters] == [0] * 6
    for starter in starters:
        starter.communicate()
    supervisors = instance.supervisors()
    eventually(lambda: sum(p.is_running() for p in supervisors) == 1)
    assert pair.pid() != old
    assert pair.pid("bystander") == kept, "it was not adopted"


@pytest.mark.promise(7, fault="files that are no sockets lie where the sockets belong")
def test_junk_where_the_sockets_belong_blocks_nobody(instance: Instance) -> None:
    run = instance.home / "run"
    run.mkdir(parents=True, mode=0o700)
    (run / "control.sock").write_text("junk")
    (run / "supervisor.lock").write_text("1\n")
    (run / "worker-0123456789ab.sock").write_text("junk")
    instance.run("daemon", "start")
    assert not (run / "worker-0123456789ab.sock").exists()


@pytest.mark.promise(1, fault="the recorded pid of a worker belongs to a stranger by now")
def test_a_stranger_with_the_pid_of_a_worker_is_left_alone(
    instance: Instance, echo_model: str
) -> None:
    instance.run("daemon", "start")
    instance.ask_for(echo_model, "e")
    pid = instance.client.wait("e").replicas[0].pid
    os.kill(instance.daemon_pid(), signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: is_gone(pid))
    with subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True
    ) as stranger:
        try:
            _rewrite_pid(instance.home / "state" / "state.db", stranger.pid)
            instance.run("daemon", "start")
            instance.client.wait("e")
            instance.run("stop", "e")
            assert psutil.pid_exists(stranger.pid)
            assert stranger.poll() is None, "a stranger was ended"
        finally:
            stranger.kill()


def _rewrite_pid(file: Path, pid: int) -> None:
    store = Store(file)
    (record,) = store.records()
    assert record.replica
    identity = replace(record.replica.identity, pid=pid)
    store.save(replace(record, replica=replace(record.replica, identity=identity)))
    store.close()


@pytest.mark.promise(9, fault="everything is killed at once, as by a power cut")
def test_after_everything_was_killed_what_ran_runs_and_what_was_stopped_does_not(
    instance: Instance, echo_model: str
) -> None:
    instance.run("daemon", "start")
    for name in ("runs", "stopped"):
        instance.ask_for(echo_model, name)
        instance.client.wait(name)
    instance.run("stop", "stopped")
    port = instance.client.deployment("runs").port
    for process in instance.processes():
        process.kill()
    instance.run("daemon", "start")
    found = instance.client.wait("runs")
    assert (found.state, found.port) == (State.RUNNING, port)
    assert instance.client.deployment("stopped").state is State.STOPPED
    assert len(instance.workers()) == 1
