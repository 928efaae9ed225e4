"""What a worker may do, and how much memory it may take."""

from __future__ import annotations

import concurrent.futures
import http.client
import sys
from pathlib import Path

import pytest

from tests.e2e.instance import Instance, eventually, post

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(sys.platform != "linux", reason="it is looked up in /proc"),
]


@pytest.mark.promise(16, fault="a look at what the kernel lets a worker do")
def test_a_worker_gains_no_rights_and_dumps_no_core(instance: Instance, echo_model: str) -> None:
    pid = instance.deploy(echo_model, "--name", "e")["replicas"][0]["pid"]
    assert "NoNewPrivs:\t1" in Path(f"/proc/{pid}/status").read_text()
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    core = next(line.split() for line in limits if line.startswith("Max core file size"))
    assert core[4:6] == ["0", "0"]


@pytest.mark.promise(
    15, fault="a worker that takes more memory than --memory allows, from its start"
)
def test_a_worker_too_large_from_the_start_has_failed(instance: Instance, echo_model: str) -> None:
    instance.deploy(echo_model, "--name", "other")
    refused = instance.run("deploy", echo_model, "--name", "e", "--memory", "8MB", ok=False)
    assert refused.returncode == 3
    assert "out of memory" in refused.stderr
    assert "its limit is 8 MB (--memory)" in refused.stderr
    assert instance.inspect("other")["restarts"] == 0


@pytest.mark.promise(2, fault="requests that together take more memory than --memory allows")
def test_a_worker_that_grows_too_large_is_replaced(instance: Instance, echo_model: str) -> None:
    shown = instance.deploy(echo_model, "--name", "e", "--memory", "250M")
    assert shown["spec"]["memory"] == 250_000_000
    body = {"text": "x" * 30_000_000, "delay": 20}
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(_ask, f"{shown['url']}/predict", body) for _ in range(8)]
        eventually(lambda: instance.client.deployment("e").restarts)
        assert not any(one.result() == 200 for one in asked)
    eventually(lambda: instance.client.deployment("e").ready_at)
    assert post(f"{shown['url']}/predict", {"text": "x"})[0] == 200
    told = (instance.home / "logs" / "supervisor.log").read_text()
    assert "out of memory" in told
    assert "its limit is 250 MB (--memory)" in told


def _ask(url: str, body: dict[str, object]) -> int:
    try:
        return post(url, body)[0]
    except (OSError, http.client.HTTPException):
        return 0
