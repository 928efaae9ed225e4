"""The kernel ends processes: one for want of memory, and all at once."""

from __future__ import annotations

import concurrent.futures
import http.client
import os
import signal
import subprocess
import sys
import time

import pytest

from modeldeploy.schema.states import State
from tests.e2e.instance import Instance, eventually, post
from tests.faults import kernel
from tests.faults.conftest import Pair

pytestmark = pytest.mark.e2e

_LIMIT = 60_000_000
_REPORTS = 1.5  # seconds in which a worker says at least once where it is
_GROWS = "input(); taken = b'x' * 600_000_000"


@pytest.mark.promise(
    2, fault="the kernel's OOM killer ends a worker, whose group has no memory left"
)
def test_a_worker_that_the_kernel_kills_for_memory_is_replaced_and_the_cause_is_named(
    pair: Pair,
) -> None:
    before, pid = pair.victim, pair.pid()
    body = {"text": "x" * 20_000_000, "delay": 3}
    with kernel.memory_group() as group:
        group.take(pid, _LIMIT)
        time.sleep(_REPORTS)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(_ask, f"{before.url}/predict", body) for _ in range(8)]
            eventually(lambda: pair.victim.restarts > before.restarts)
            assert {one.result() for one in asked} != {200}, "newcomers wait, those inside are lost"
        assert pair.pid() != pid
    assert pair.victim.port == before.port
    assert post(f"{before.url}/predict", {"text": "x"})[0] == 200
    assert "killed by SIGKILL: out of memory" in _told(pair)


@pytest.mark.promise(
    2, fault="a worker is killed by hand after the kernel killed another for memory"
)
def test_who_is_killed_by_hand_was_not_out_of_memory(pair: Pair) -> None:
    pid, before = pair.pid(), _told(pair)
    with kernel.memory_group() as group:
        grows = subprocess.Popen([sys.executable, "-c", _GROWS], stdin=subprocess.PIPE)
        group.take(grows.pid, _LIMIT)
        grows.communicate(b"go")
        assert grows.returncode == -signal.SIGKILL
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: pair.pid() != pid)
    told = _told(pair).removeprefix(before)
    assert "victim is BACKOFF: the worker process was killed by SIGKILL\n" in told


def _told(pair: Pair) -> str:
    return (pair.instance.home / "logs" / "supervisor.log").read_text()


def _ask(url: str, body: dict[str, object]) -> int:
    try:
        return post(url, body)[0]
    except (OSError, http.client.HTTPException):
        return 0


@pytest.mark.promise(9, fault="the machine loses its power and boots: other pids, another boot id")
def test_after_a_reboot_what_ran_runs_and_what_was_stopped_does_not(
    instance: Instance, echo_model: str
) -> None:
    with kernel.booted(instance):
        for name in ("runs", "stopped"):
            instance.ask_for(echo_model, name)
        before = instance.client.wait("runs")
        instance.client.wait("stopped")
        instance.client.stop("stopped")
        eventually(lambda: instance.client.deployment("stopped").state is State.STOPPED)
    assert not instance.processes()
    with pytest.raises(ConnectionRefusedError):
        post(f"{before.url}/predict", {"text": "x"})
    with kernel.booted(instance):
        after = instance.client.wait("runs")
        assert (after.state, after.port) == (State.RUNNING, before.port)
        assert after.replicas[0].id != before.replicas[0].id
        assert post(f"{before.url}/predict", {"text": "x"})[0] == 200
        assert instance.client.deployment("stopped").state is State.STOPPED
        instance.run("daemon", "stop")
        assert not instance.is_supervised


@pytest.mark.promise(
    7, fault="a silent supervisor in another container has a pid of a stranger here"
)
def test_a_pid_of_another_container_is_no_pid_here(instance: Instance) -> None:
    with kernel.booted(instance):
        (supervisor,) = instance.supervisors()
        supervisor.suspend()
        told = instance.run("daemon", "stop", ok=False)
        assert told.returncode == 4
        assert "another container" in told.stderr
        supervisor.resume()
        instance.run("daemon", "stop")
