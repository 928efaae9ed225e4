"""The supervisor dies at every one of its writes, before or after: the next one finds one
deployment or none, one worker or none, and brings it to what was asked for."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable

import pytest

from modeldeploy.errors import ModelDeployError
from modeldeploy.schema.states import State
from tests.e2e.instance import Instance, eventually, post
from tests.faults import mortal

pytestmark = pytest.mark.e2e

NAME = "e"


def story(instance: Instance, model: str, died: Callable[[], bool]) -> None:
    """A deployment's whole life, as far as it comes."""
    client = instance.client
    instance.ask_for(model, NAME)
    eventually(lambda: died() or client.deployment(NAME).state is State.RUNNING)
    client.remove(NAME)
    client.wait_gone(NAME)


def is_told_whole(instance: Instance, model: str, number: int, moment: str) -> bool:
    """Tell the story to a supervisor that dies at that write, if there are so many."""
    supervisor = mortal.start(instance.env, number, moment)

    def died() -> bool:
        return supervisor.poll() is not None

    try:
        eventually(lambda: instance.is_supervised or died())
        try:
            story(instance, model, died)
        except ModelDeployError:
            eventually(died)
        return not died()
    finally:
        supervisor.kill()
        supervisor.wait()


@pytest.mark.slow
@pytest.mark.promise(10, fault="the supervisor is killed at each of its writes, before or after")
@pytest.mark.promise(5, fault="the supervisor is killed before it has noted the worker it started")
def test_the_supervisor_dies_at_each_of_its_writes(instance: Instance, echo_model: str) -> None:
    for number in itertools.count(1):
        # In turn, for each costs seconds: what comes between two writes is between one of these.
        moment = "after" if number % 2 else "before"
        if is_told_whole(instance, echo_model, number, moment):
            break
        assert_whole(instance, f"killed {moment} write {number}")
    assert number > 7, "the story has become too short to tell anything"
    instance.run("daemon", "start")  # to tidy up behind the last one


def assert_whole(instance: Instance, when: str) -> None:
    """One supervisor, and each deployment is what was asked for, with one worker or none."""
    instance.run("daemon", "start")
    client = instance.client
    for found in client.deployments():
        with contextlib.suppress(ModelDeployError):  # it was being removed
            state = client.wait(found.name, timeout=60).state
            if state is State.RUNNING:
                url = client.deployment(NAME).url
                assert post(f"{url}/predict", {"text": when})[1]["result"] == [{"text": when}]
    pids = {replica.pid for one in client.deployments() for replica in one.replicas}
    eventually(lambda: {worker.pid for worker in instance.workers()} == pids, 20)
    if client.deployments():
        client.remove(NAME)
        client.wait_gone(NAME)
    instance.run("daemon", "stop")
    left = [process.cmdline() for process in instance.processes()]
    assert not left, (when, left)
    files = sorted(p.name for p in (instance.home / "run").iterdir())
    assert not [name for name in files if name.startswith("worker-")], (when, files)
