"""The cores are shared over the deployments that are busy: real processes, the echo task."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.instance import Instance, eventually, get, post

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(sys.platform != "linux", reason="only there a process is given two cores"),
]


@pytest.fixture
def two_cores(instance: Instance) -> Iterator[Instance]:
    """Whatever this machine has, the supervisor and its workers may run on two."""
    before = os.sched_getaffinity(0)
    if len(before) < 2:
        pytest.skip("there is only one")
    os.sched_setaffinity(0, sorted(before)[:2])
    try:
        yield instance
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def busy(url: str) -> Iterator[None]:
    """A client that never pauses."""
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            assert post(f"{url}/predict", {"text": "x", "delay": 0.1})[0] == 200

    client = threading.Thread(target=ask)
    client.start()
    try:
        yield
    finally:
        stop.set()
        client.join()


def threads(url: str) -> dict[str, Any]:
    found: dict[str, Any] = get(f"{url}/info")[1]["threads"]
    return found


def counts(*urls: str) -> list[int]:
    return [threads(url)["count"] for url in urls]


def test_two_busy_deployments_get_a_core_each_and_the_one_left_gets_both(
    two_cores: Instance, echo_model: str
) -> None:
    a, b = (two_cores.deploy(echo_model, "--name", name)["url"] for name in "ab")
    eventually(lambda: threads(a)["why"] == "2 of 2 cores: no other deployment is busy")
    with busy(a):
        eventually(lambda: counts(a, b) == [2, 1])
        with busy(b):
            eventually(lambda: counts(a, b) == [1, 1])
            assert threads(a)["why"] == "1 of 2 cores: 1 other deployment is busy"
            eventually(lambda: two_cores.inspect("a")["replicas"][0]["threads"] == threads(a))
        eventually(lambda: counts(a, b) == [2, 1])
    eventually(lambda: counts(a, b) == [2, 2])


def test_workers_that_are_adopted_share_the_cores_too(two_cores: Instance, echo_model: str) -> None:
    a, b = (two_cores.deploy(echo_model, "--name", name)["url"] for name in "ab")
    workers = [two_cores.inspect(name)["replicas"][0]["pid"] for name in "ab"]
    with busy(a):
        os.kill(two_cores.daemon_pid(), signal.SIGKILL)
        two_cores.run("daemon", "start")
        with busy(b):
            eventually(lambda: counts(a, b) == [1, 1])
        eventually(lambda: counts(a, b) == [2, 1])
    assert [two_cores.inspect(name)["replicas"][0]["pid"] for name in "ab"] == workers


def test_the_number_that_was_asked_for_is_kept(two_cores: Instance, echo_model: str) -> None:
    a = two_cores.deploy(echo_model, "--name", "a", "--threads", "1")["url"]
    b = two_cores.deploy(echo_model, "--name", "b")["url"]
    eventually(lambda: threads(a) == {"count": 1, "why": "1 of 2 cores: asked for"})
    eventually(lambda: counts(a, b) == [1, 2])
    with busy(a):
        eventually(lambda: counts(a, b) == [1, 1])
