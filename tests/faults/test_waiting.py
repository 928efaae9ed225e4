"""For how long the supervisor waits, whatever becomes of itself and of the clock."""

from __future__ import annotations

import os
import signal
import time

import pytest

from modeldeploy.schema.states import State
from tests.e2e.instance import Instance, eventually, post
from tests.faults import strange
from tests.faults.conftest import Pair

pytestmark = pytest.mark.e2e

_PATIENCE = 2  # seconds, as ``pair`` has it
_HOURS = 6 * 3600


@pytest.mark.parametrize("with_worker", [False, True])
@pytest.mark.promise(4, fault="the supervisor is stopped for longer than its patience")
@pytest.mark.promise(
    4, fault="supervisor and worker are stopped together, as in a paused container"
)
def test_after_a_pause_no_worker_that_is_well_is_replaced(pair: Pair, with_worker: bool) -> None:
    before = pair.victim
    paused = [pair.instance.daemon_pid(), *([pair.pid()] if with_worker else [])]
    for pid in paused:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(2 * _PATIENCE)
    for pid in paused:
        os.kill(pid, signal.SIGCONT)
    time.sleep(2 * _PATIENCE)
    assert pair.victim.restarts == before.restarts
    assert pair.victim.replicas[0].pid == before.replicas[0].pid
    assert post(f"{before.url}/predict", {"text": "x"})[0] == 200


@pytest.mark.promise(4, fault="a worker is stopped, and so is its supervisor for a while")
def test_after_a_pause_one_that_hangs_is_found(pair: Pair) -> None:
    pid, supervisor = pair.pid(), pair.instance.daemon_pid()
    os.kill(pid, signal.SIGSTOP)
    os.kill(supervisor, signal.SIGSTOP)
    time.sleep(2 * _PATIENCE)
    os.kill(supervisor, signal.SIGCONT)
    eventually(lambda: pair.pid() != pid, 30)


@pytest.mark.promise(2, fault="the clock is set back by six hours while a restart is due")
@pytest.mark.promise(4, fault="the clock is set on by six hours")
def test_a_clock_that_is_set_moves_no_deadline(instance: Instance, echo_model: str) -> None:
    instance.env["MODELDEPLOY_HEARTBEAT_TIMEOUT"] = str(_PATIENCE)
    with strange.supervised(instance, "shifted"):
        instance.ask_for(echo_model, "e")
        pid = instance.client.wait("e").replicas[0].pid
        strange.set_clock(instance.home, _HOURS)
        instance.client.start("e")  # it is looked at before its next report
        time.sleep(_PATIENCE)
        found = instance.client.deployment("e")
        assert (found.restarts, found.replicas[0].pid) == (0, pid)
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: instance.client.deployment("e").state is State.BACKOFF)
        strange.set_clock(instance.home, 0)
        eventually(lambda: instance.client.deployment("e").state is State.RUNNING, 30)
        instance.run("daemon", "stop")


@pytest.mark.promise(2, fault="a worker that is not ready in time, three times")
def test_a_start_that_takes_too_long_says_so(instance: Instance, echo_model: str) -> None:
    instance.env["MODELDEPLOY_START_TIMEOUT"] = "0.1"
    instance.run("daemon", "start")
    instance.ask_for(echo_model, "e")
    eventually(lambda: instance.client.deployment("e").state is State.FAILED)
    error = instance.client.deployment("e").error
    assert error
    assert error.code == "start_timeout"
    assert error.message == "the worker was not ready within 0.1 s and was killed"
    assert "MODELDEPLOY_START_TIMEOUT" in error.hint
