"""Workers forked from the warm template: real models, real deaths."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys

import psutil
import pytest

from modeldeploy.schema.states import State
from tests.e2e.instance import Instance, eventually, post
from tests.fakehub import FakeHub

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers are spawned plainly"),
]


@pytest.fixture
def warm(instance: Instance) -> Instance:
    instance.env["MODELDEPLOY_WARM_START"] = "true"
    instance.run("daemon", "start")
    return instance


def template(instance: Instance) -> psutil.Process | None:
    """The template itself: the supervisor's child that leads no deployment."""
    workers = {
        replica["pid"]
        for name in instance.names()
        for replica in instance.inspect(name)["replicas"]
    }
    found = [
        process
        for process in psutil.Process(instance.daemon_pid()).children()
        if "modeldeploy.worker.template" in process.cmdline() and process.pid not in workers
    ]
    return found[0] if found else None


def until_warm(instance: Instance) -> None:
    def is_warm() -> bool:
        status = json.loads(instance.run("daemon", "status", "--json").stdout)
        return bool(status["template"] == "ready")

    eventually(is_warm)


def test_a_deploy_before_the_template_is_warm_waits_for_it(warm: Instance) -> None:
    shown = warm.deploy("builtin/sentiment")
    worker = psutil.Process(shown["replicas"][0]["pid"])
    assert "modeldeploy.worker.template" in worker.cmdline(), "it was not forked"
    _, answer = post(f"{shown['url']}/predict", {"text": "not bad at all"})
    assert answer["result"][0]["label"] == "POSITIVE"


def test_forked_workers_share_memory_and_none_shares_a_group(warm: Instance) -> None:
    until_warm(warm)
    pids = [
        warm.deploy(model)["replicas"][0]["pid"]
        for model in ("builtin/sentiment", "builtin/digits", "builtin/sentiment")
    ]
    assert len({os.getpgid(pid) for pid in pids}) == 3
    assert [os.getpgid(pid) for pid in pids] == pids
    for pid in pids:
        memory = psutil.Process(pid).memory_full_info()
        assert memory.uss < 0.5 * memory.rss


@pytest.mark.promise(2, fault="a worker forked from the template is killed")
def test_how_a_forked_worker_died_is_known_and_it_is_replaced(warm: Instance) -> None:
    until_warm(warm)
    shown = warm.deploy("builtin/sentiment")
    os.kill(shown["replicas"][0]["pid"], signal.SIGKILL)
    status, answer = post(f"{shown['url']}/predict", {"text": "great"})
    assert (status, answer["result"][0]["label"]) == (200, "POSITIVE")
    assert warm.inspect("sentiment")["restarts"] == 1
    assert "killed by SIGKILL" in warm.run("daemon", "logs").stdout
    zombies = [
        child
        for child in psutil.Process(warm.daemon_pid()).children()
        if child.status() == psutil.STATUS_ZOMBIE
    ]
    assert not zombies


@pytest.mark.promise(1, fault="the template is killed")
def test_a_template_that_dies_takes_no_worker_along_and_none_has_to_wait(warm: Instance) -> None:
    until_warm(warm)
    first = warm.deploy("builtin/sentiment")
    found = template(warm)
    assert found is not None
    found.kill()
    eventually(lambda: template(warm) is None)
    assert post(f"{first['url']}/predict", {"text": "great"})[0] == 200
    second = warm.deploy("builtin/sentiment")
    worker = psutil.Process(second["replicas"][0]["pid"])
    assert "modeldeploy.worker.template" not in worker.cmdline(), "spawned plainly"


@pytest.mark.promise(4, fault="the template is stopped (SIGSTOP)")
def test_a_stopped_template_is_replaced_and_the_supervisor_answers_meanwhile(
    warm: Instance, echo_model: str
) -> None:
    until_warm(warm)
    found = template(warm)
    assert found is not None
    found.send_signal(signal.SIGSTOP)
    warm.ask_for(echo_model, "e")
    eventually(lambda: is_ordered(warm, "e"))  # it answers while the template does not
    shown = warm.client.wait("e")
    worker = psutil.Process(shown.replicas[0].pid)
    assert "modeldeploy.worker.template" not in worker.cmdline(), "spawned plainly"
    assert (shown.state, shown.restarts) == (State.RUNNING, 0)
    eventually(lambda: not found.is_running())


@pytest.mark.promise(6, fault="a stop between an order to the template and its late answer")
def test_a_late_answer_of_the_template_is_nobody_elses(warm: Instance, echo_model: str) -> None:
    until_warm(warm)
    found = template(warm)
    assert found is not None
    found.send_signal(signal.SIGSTOP)
    warm.ask_for(echo_model, "a")
    eventually(lambda: is_ordered(warm, "a"))
    warm.client.stop("a")
    warm.ask_for(echo_model, "b")
    eventually(lambda: is_ordered(warm, "b") or warm.client.deployment("b").replicas)
    found.send_signal(signal.SIGCONT)
    shown = warm.client.wait("b")
    assert (shown.state, shown.restarts) == (State.RUNNING, 0)
    assert post(f"{shown.url}/predict", {"text": "x"})[0] == 200
    assert warm.client.deployment("a").state is State.STOPPED
    ours = {shown.replicas[0].pid, found.pid}

    def others() -> set[int]:
        fetching = {one.pid for one in fetchers(warm)}
        return {p.pid for p in psutil.Process(warm.daemon_pid()).children()} - fetching

    eventually(lambda: others() <= ours)


def is_ordered(instance: Instance, name: str) -> bool:
    """Whether it waits for a worker that the template was told to fork."""
    one = instance.client.deployment(name)
    return (one.state is State.STARTING and not one.replicas) and (
        instance.client.status().template == "ready"
    )


def test_the_template_ends_with_its_supervisor_and_the_workers_stay(warm: Instance) -> None:
    until_warm(warm)
    shown = warm.deploy("builtin/sentiment")
    found = template(warm)
    assert found is not None
    os.kill(warm.daemon_pid(), signal.SIGKILL)
    found.wait(20)
    assert post(f"{shown['url']}/predict", {"text": "great"})[0] == 200
    assert warm.inspect("sentiment")["replicas"][0]["pid"] == shown["replicas"][0]["pid"]


def fetchers(instance: Instance) -> list[psutil.Process]:
    """All that fetch or wait for a fetch."""
    found = []
    for one in psutil.Process(instance.daemon_pid()).children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if "modeldeploy.hub" in one.cmdline():
                found.append(one)
    return found


def test_a_fetcher_waits_for_the_next_fetch_and_ends_with_its_supervisor(
    instance: Instance, fake_hub: FakeHub
) -> None:
    instance.use_hub(fake_hub.endpoint)
    instance.env["MODELDEPLOY_WARM_START"] = "true"
    instance.run("daemon", "start")
    (first,) = eventually(lambda: fetchers(instance))
    fake_hub.fault("/api/models/*", silent=True)
    instance.run("deploy", "-d", "org/m", "--name", "m")
    eventually(lambda: fake_hub.requests)
    assert fetchers(instance) == [first], "it was not asked"
    instance.run("rm", "-f", "m")
    eventually(lambda: not first.is_running())
    (second,) = eventually(lambda: fetchers(instance))
    os.kill(instance.daemon_pid(), signal.SIGKILL)
    second.wait(10)
    assert instance.names() == []
