"""What holds when processes die, race and are told to go: real processes, the echo task."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.instance import Instance, eventually, get, post

pytestmark = pytest.mark.e2e


@pytest.mark.promise(2, fault="a worker is killed (kill -9)")
@pytest.mark.promise(3, fault="a request comes while a killed worker is being replaced")
def test_a_dead_worker_is_replaced_on_the_same_port_and_newcomers_wait(
    instance: Instance, echo_model: str
) -> None:
    before = instance.deploy(echo_model, "--name", "e")
    old = instance.inspect("e")["replicas"][0]["pid"]
    os.kill(old, signal.SIGKILL)
    status, answer = post(f"{before['url']}/predict", {"text": "after"})
    assert (status, answer["result"]) == (200, [{"text": "after"}])
    after = instance.inspect("e")
    assert after["port"] == before["port"]
    assert after["replicas"][0]["pid"] != old
    assert after["restarts"] == 1


@contextlib.contextmanager
def _under_load(url: str) -> Iterator[list[int]]:
    """Four clients that never pause; the statuses they get."""
    fates: list[int] = []
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            fates.append(post(f"{url}/predict", {"text": "x"})[0])

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield fates
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.promise(
    1, fault="the supervisor is killed (kill -9) under load; then the adopted worker"
)
def test_the_supervisor_is_killed_and_not_one_request_fails(
    instance: Instance, echo_model: str
) -> None:
    url = instance.deploy(echo_model, "--name", "e")["url"]
    worker = instance.inspect("e")["replicas"][0]["pid"]
    with _under_load(url) as fates:
        daemon = instance.daemon_pid()
        os.kill(daemon, signal.SIGKILL)
        assert instance.names() == ["e"]  # starts the next one
        assert instance.daemon_pid() != daemon
        adopted = instance.inspect("e")
        eventually(lambda: len(fates) > 200)
    assert adopted["state"] == "RUNNING"
    assert adopted["replicas"][0]["pid"] == worker
    assert set(fates) == {200}
    os.kill(worker, signal.SIGKILL)  # the adopted one is replaced like any other
    assert post(f"{url}/predict", {"text": "again"})[0] == 200
    assert _ready_pid(instance) != worker


@pytest.mark.promise(5, fault="a deployment is stopped with a request under way")
@pytest.mark.promise(9, fault="the daemon ends and starts while a deployment is stopped")
def test_stop_answers_what_was_accepted_and_leaves_nothing(
    instance: Instance, echo_model: str
) -> None:
    shown = instance.deploy(echo_model, "--name", "e")
    pid = instance.inspect("e")["replicas"][0]["pid"]
    answers: list[tuple[int, object]] = []
    slow = threading.Thread(
        target=lambda: answers.append(
            post(f"{shown['url']}/predict", {"text": "slow", "delay": 2.0})
        )
    )
    slow.start()
    time.sleep(0.5)
    instance.run("stop", "e")
    slow.join()
    assert answers[0][0] == 200
    assert not Path(f"/proc/{pid}").exists()
    with pytest.raises(ConnectionRefusedError):
        get(f"{shown['url']}/health")
    assert instance.inspect("e")["state"] == "STOPPED"
    instance.run("daemon", "stop")
    assert instance.inspect("e")["state"] == "STOPPED", "what was stopped stays stopped"
    instance.run("start", "e")
    again = instance.inspect("e")
    assert (again["state"], again["port"]) == ("RUNNING", shown["port"])


@pytest.mark.promise(9, fault="the daemon is stopped with a deployment running")
def test_what_was_running_comes_back_after_a_clean_end(instance: Instance, echo_model: str) -> None:
    shown = instance.deploy(echo_model, "--name", "e")
    instance.run("daemon", "stop")
    assert not instance.processes()
    instance.run("wait", "e")
    assert get(f"{shown['url']}/health")[0] == 200


def test_workers_can_be_kept_through_a_change_of_supervisors(
    instance: Instance, echo_model: str
) -> None:
    instance.deploy(echo_model, "--name", "e")
    before = instance.inspect("e")["replicas"]
    instance.run("daemon", "stop", "--keep-workers")
    assert [r["pid"] for r in instance.inspect("e")["replicas"]] == [r["pid"] for r in before]


@pytest.mark.promise(1, fault="the daemon is restarted under load")
def test_a_restarted_supervisor_reads_its_settings_anew_and_loses_no_request(
    instance: Instance, echo_model: str
) -> None:
    url = instance.deploy(echo_model, "--name", "e")["url"]
    worker = instance.inspect("e")["replicas"][0]["pid"]
    daemon, (low, high) = instance.daemon_pid(), instance.ports
    instance.env["MODELDEPLOY_PORT_RANGE"] = f"{low}-{high + 1}"
    with _under_load(url) as fates:
        status = json.loads(instance.run("daemon", "restart", "--json").stdout)
        count = len(fates)
        eventually(lambda: len(fates) > count + 50)
    assert set(fates) == {200}
    assert status["pid"] != daemon
    assert status["ports"] == f"{low}-{high + 1}"
    assert instance.inspect("e")["replicas"][0]["pid"] == worker


@pytest.mark.promise(6, fault="twenty deploys of one name at once")
@pytest.mark.promise(7, fault="twenty commands at once, each of which would start the supervisor")
def test_twenty_deploys_of_one_name_make_one_deployment(
    instance: Instance, echo_model: str
) -> None:
    racers = [instance.start("deploy", echo_model, "--name", "one", "--json") for _ in range(20)]
    codes = []
    for racer in racers:
        out, _ = racer.communicate(timeout=120)
        codes.append(racer.returncode)
        if racer.returncode:
            assert json.loads(out)["error"]["code"] == "name_taken"
    assert sorted(codes) == [0] + [1] * 19
    assert instance.names() == ["one"]
    supervisors = instance.supervisors()
    workers = [p for p in instance.processes() if "modeldeploy.worker" in p.cmdline()]
    assert (len(supervisors), len(workers)) == (1, 1)


@pytest.mark.promise(2, fault="a worker is killed again and again")
def test_a_worker_that_keeps_dying_ends_in_failed_with_its_reason(
    instance: Instance, echo_model: str
) -> None:
    instance.deploy(echo_model, "--name", "e")
    for _ in range(6):
        pid = eventually(lambda: _ready_pid(instance))
        os.kill(pid, signal.SIGKILL)
        eventually(partial(_is_gone, pid))
    failed = eventually(lambda: _if_state(instance, "FAILED"))
    assert failed["error"]["code"] == "worker_died"
    assert "SIGKILL" in failed["error"]["message"]
    assert failed["error"]["details"]
    assert instance.run("wait", "e", ok=False).returncode == 3
    instance.run("start", "e")
    assert instance.inspect("e")["state"] == "RUNNING"


@pytest.mark.promise(2, fault="a worker is killed before it is ready, three times")
def test_a_start_that_is_killed_three_times_ends_in_failed(
    instance: Instance, echo_model: str
) -> None:
    instance.run("daemon", "start")
    instance.ask_for(echo_model, "e")
    killed: set[int] = set()
    while len(killed) < 3:
        for worker in instance.workers():
            if worker.pid not in killed:
                worker.kill()
                killed.add(worker.pid)
    failed = eventually(lambda: _if_state(instance, "FAILED"))
    assert failed["error"]["code"] == "worker_died"
    assert "SIGKILL" in failed["error"]["message"]
    assert failed["restarts"] == 2
    assert not instance.workers()
    with socket.socket() as free:  # nobody holds its port
        free.bind(("127.0.0.1", failed["port"]))
    instance.run("start", "e")
    assert instance.inspect("e")["state"] == "RUNNING"


@pytest.mark.promise(5, fault="the daemon is stopped with requests under way")
def test_the_daemons_end_answers_what_was_accepted(instance: Instance, echo_model: str) -> None:
    urls = [instance.deploy(echo_model, "--name", name)["url"] for name in ("a", "b")]
    fates: list[int] = []

    def ask(url: str) -> None:
        fates.append(post(f"{url}/predict", {"text": "slow", "delay": 2.0})[0])

    slow = [threading.Thread(target=ask, args=(url,)) for url in urls * 3]
    for one in slow:
        one.start()
    eventually(lambda: sum(d.requests for d in instance.client.deployments()) == 8)  # and 2 smokes
    instance.run("daemon", "stop")
    for one in slow:
        one.join()
    assert fates == [200] * 6
    assert not instance.processes()


def _is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def _ready_pid(instance: Instance) -> int | None:
    shown = instance.inspect("e")
    ready = shown["state"] == "RUNNING" and shown["replicas"]
    return int(shown["replicas"][0]["pid"]) if ready else None


def _if_state(instance: Instance, state: str) -> dict[str, Any] | None:
    shown = instance.inspect("e")
    return shown if shown["state"] == state else None


@pytest.mark.promise(8, fault="a stranger listens on a port of the pool; the pool is empty")
def test_a_port_of_a_stranger_is_skipped_and_an_empty_pool_is_a_clear_error(
    instance: Instance, echo_model: str
) -> None:
    low, high = instance.ports
    instance.env["MODELDEPLOY_PORT_RANGE"] = f"{low}-{low + 1}"
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", low))
        stranger.listen()
        assert instance.deploy(echo_model, "--name", "a")["port"] == low + 1
        refused = instance.run("deploy", echo_model, "--name", "b", "--json", ok=False)
        assert refused.returncode == 1
        assert json.loads(refused.stdout)["error"]["code"] == "no_free_port"
        taken = instance.run(
            "deploy", echo_model, "--name", "c", "--port", str(low), "--json", ok=False
        )
        assert json.loads(taken.stdout)["error"]["code"] == "port_taken"
    assert instance.names() == ["a"], "a refused deploy left a record"
    assert high > low


def test_ctrl_c_detaches_and_the_deployment_goes_on(instance: Instance, echo_model: str) -> None:
    instance.run("ls")  # the supervisor is there
    typed = instance.start("deploy", echo_model, "--name", "e")
    eventually(lambda: "e" in instance.names())
    typed.send_signal(signal.SIGINT)
    out, err = typed.communicate(timeout=60)
    if typed.returncode == 130:  # unless it was ready before the key was pressed
        assert "modeldeploy wait e" in out + err
    instance.run("wait", "e")
    assert instance.inspect("e")["state"] == "RUNNING"


def test_a_home_too_deep_for_a_socket_path_works(tmp_path: Path, echo_model: str) -> None:
    deep = Instance(tmp_path / ("d" * 60) / ("e" * 60) / "home")
    deep.home.parent.mkdir(parents=True)
    try:
        assert deep.deploy(echo_model, "--name", "e")["state"] == "RUNNING"
    finally:
        deep.close()


def test_logs_follow_the_worker_across_a_restart(instance: Instance, echo_model: str) -> None:
    url = instance.deploy(echo_model, "--name", "e")["url"]
    follower = instance.start("logs", "-f", "e")
    try:
        post(f"{url}/predict", {"text": "one"})
        instance.run("restart", "e")
        post(f"{url}/predict", {"text": "two"})
        assert follower.stdout is not None
        seen = 0
        for line in follower.stdout:
            seen += "/predict" in line and "200" in line
            if seen >= 2:
                break
    finally:
        follower.kill()
        follower.communicate()
    assert seen >= 2


def _page(url: str) -> bytes:
    """Whatever is answered there, errors included."""
    host, _, path = url.removeprefix("http://").partition("/")
    with contextlib.closing(http.client.HTTPConnection(host, timeout=30)) as connection:
        connection.request("GET", f"/{path}")
        return connection.getresponse().read()


@pytest.mark.promise(22, fault="a token in the environment of whoever deploys")
def test_secrets_are_nowhere(instance: Instance, echo_model: str) -> None:
    instance.env["HF_TOKEN"] = "hf_verysecretverysecret"
    instance.env["MODELDEPLOY_GATEWAY"] = "true"
    url = instance.deploy(echo_model, "--name", "e")["url"]
    shown = instance.run("inspect", "e").stdout
    assert "verysecret" not in shown
    for path in ("metrics", "info", "openapi.json", "nowhere"):
        for root in (url, instance.front, f"{instance.front}/deployments/e"):
            page = _page(f"{root}/{path}")
            assert b"verysecret" not in page, (root, path)
    failed = instance.run("deploy", "builtin/nothing", ok=False)
    assert "verysecret" not in failed.stdout + failed.stderr
    for process in instance.processes():
        assert "verysecret" not in " ".join(process.cmdline())
        if "modeldeploy.worker" in process.cmdline():
            assert "verysecret" not in str(process.environ())
    for file in instance.home.rglob("*"):
        if file.is_file():
            assert b"verysecret" not in file.read_bytes(), file


@pytest.mark.promise(24, fault="umask 0")
def test_everything_is_private_whatever_the_umask(instance: Instance, echo_model: str) -> None:
    before = os.umask(0)
    try:
        instance.deploy(echo_model, "--name", "e")
    finally:
        os.umask(before)
    for path in [instance.home, *instance.home.rglob("*")]:
        mode = path.stat().st_mode & 0o777
        assert mode == (0o700 if path.is_dir() else 0o600), f"{path} is {mode:o}"


def test_the_control_socket_speaks_http_to_curl(instance: Instance) -> None:
    instance.run("ls")
    control = instance.home / "run" / "control.sock"
    done = subprocess.run(
        ["curl", "-sS", "--unix-socket", str(control), "http://local/v1/status"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["pid"] == instance.daemon_pid()
