"""A supervisor that is there and does not answer, or cannot be reached: it is told, and ended."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from modeldeploy.supervisor import processes
from tests.e2e.instance import Instance, eventually, post
from tests.faults.load import Load

pytestmark = pytest.mark.e2e


def is_gone(pid: int) -> bool:
    return processes.identify(pid) is None


@pytest.mark.promise(7, fault="the supervisor is stopped (SIGSTOP) while commands are typed")
@pytest.mark.promise(5, fault="the daemon is ended whose supervisor is stopped (SIGSTOP)")
def test_a_stopped_supervisor_is_said_and_ended(instance: Instance, echo_model: str) -> None:
    instance.run("daemon", "start")
    instance.ask_for(echo_model, "e")
    worker = instance.client.wait("e").replicas[0].pid
    pid = instance.daemon_pid()
    follower = instance.start("logs", "-f", "e")
    os.kill(pid, signal.SIGSTOP)
    try:
        for command in (("ls",), ("daemon", "status")):
            told = instance.run(*command, ok=False)
            assert told.returncode == 4, told
            assert "daemon stop" in told.stderr
        assert follower.wait(60) == 4
        follower.communicate()
        done = instance.run("daemon", "stop")
        assert "has ended" in done.stderr
        assert is_gone(pid)
        assert is_gone(worker)
    finally:
        if not is_gone(pid):
            os.kill(pid, signal.SIGCONT)


@pytest.mark.promise(1, fault="a supervisor is replaced that is stopped (SIGSTOP), under load")
def test_a_stopped_supervisor_is_replaced_and_its_workers_go_on(
    instance: Instance, echo_model: str
) -> None:
    instance.run("daemon", "start")
    instance.ask_for(echo_model, "e")
    found = instance.client.wait("e")
    pid = instance.daemon_pid()
    with Load(str(found.url)) as load:
        load.goes_on()
        os.kill(pid, signal.SIGSTOP)
        instance.run("daemon", "restart")
        load.goes_on()
    load.assert_all_answered()
    assert is_gone(pid)
    assert instance.client.deployment("e").replicas[0].pid == found.replicas[0].pid


@pytest.mark.promise(7, fault="the control socket, then its whole directory, is removed")
def test_a_removed_socket_is_made_anew_and_nobody_else_supervises(
    instance: Instance, echo_model: str
) -> None:
    instance.run("daemon", "start")
    pid = instance.daemon_pid()
    (instance.home / "run" / "control.sock").unlink()
    eventually(lambda: instance.is_supervised)
    assert instance.daemon_pid() == pid
    shutil.rmtree(instance.home / "run")
    eventually(lambda: instance.is_supervised)
    assert instance.daemon_pid() == pid
    assert instance.run("daemon", "run", ok=False).returncode == 1, "two supervise"
    instance.ask_for(echo_model, "e")
    assert post(f"{instance.client.wait('e').url}/predict", {"text": "x"})[0] == 200


@pytest.mark.promise(5, fault="the daemon is ended while its control socket is gone")
def test_a_supervisor_without_a_socket_is_ended(instance: Instance, echo_model: str) -> None:
    instance.run("daemon", "start")
    instance.ask_for(echo_model, "e")
    worker, pid = instance.client.wait("e").replicas[0].pid, instance.daemon_pid()
    os.kill(pid, signal.SIGSTOP)  # so that it does not make another
    (instance.home / "run" / "control.sock").unlink()
    done = instance.run("daemon", "stop")
    assert "has ended" in done.stderr
    assert is_gone(pid)
    assert is_gone(worker)


@pytest.mark.parametrize("hears", [True, False])
@pytest.mark.promise(5, fault="all state is removed while a worker serves, or is stopped (SIGSTOP)")
def test_a_worker_on_no_record_is_ended(instance: Instance, echo_model: str, hears: bool) -> None:
    instance.run("daemon", "start")
    instance.ask_for(echo_model, "e")
    pid = instance.client.wait("e").replicas[0].pid
    os.kill(instance.daemon_pid(), signal.SIGKILL)
    shutil.rmtree(instance.home / "state")
    if not hears:
        os.kill(pid, signal.SIGSTOP)
    instance.run("daemon", "start")
    assert instance.names() == []
    assert "on no record" in instance.run("daemon", "logs").stdout
    if hears:
        eventually(lambda: is_gone(pid))
        eventually(lambda: not _left(instance.home / "run"))
    else:
        assert not is_gone(pid), "it has its time"
        assert _left(instance.home / "run"), "nobody could find it any more"
        instance.run("daemon", "stop")
        assert is_gone(pid)
        assert not _left(instance.home / "run")


def _left(folder: Path) -> list[Path]:
    return list(folder.glob("worker-*"))
