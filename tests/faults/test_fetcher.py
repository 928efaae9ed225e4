"""The fetcher is stopped."""

from __future__ import annotations

import signal

import psutil
import pytest

from tests.e2e.instance import Instance, eventually
from tests.fakehub import FakeHub
from tests.hub.conftest import files

pytestmark = pytest.mark.e2e


@pytest.fixture
def stalling(instance: Instance, fake_hub: FakeHub) -> FakeHub:
    """The Hub of the instance: it says nothing the first time that a file is asked for."""
    fake_hub.add(
        "org/m", files({"config.json": b'{"model_type": "echo", "architectures": ["Echo"]}'})
    )
    fake_hub.fault("*/resolve/*", silent=True, times=1)
    instance.use_hub(fake_hub.endpoint)
    return fake_hub


@pytest.mark.slow
@pytest.mark.promise(12, fault="the fetcher is stopped (SIGSTOP) while another waits for its model")
def test_a_stopped_fetcher_fails_its_own_deployment_and_no_other(
    instance: Instance, stalling: FakeHub
) -> None:
    instance.env["MAX_DOWNLOAD_TIMEOUT"] = "2"
    instance.run("deploy", "org/m", "--name", "stuck", "-d")
    del instance.env["MAX_DOWNLOAD_TIMEOUT"]
    stuck = fetcher(instance, stalling)
    stuck.send_signal(signal.SIGSTOP)
    assert instance.deploy("org/m", "--name", "waits")["state"] == "RUNNING"
    eventually(lambda: not stuck.is_running())
    error = eventually(lambda: instance.inspect("stuck")["error"])
    assert error["code"] == "download_timeout", error


@pytest.mark.promise(5, fault="the supervisor is killed while its fetcher is stopped (SIGSTOP)")
def test_a_stopped_fetcher_does_not_outlive_its_supervisor(
    instance: Instance, stalling: FakeHub
) -> None:
    instance.run("deploy", "org/m", "--name", "e", "-d")
    stuck = fetcher(instance, stalling)
    stuck.suspend()
    (supervisor,) = instance.supervisors()
    supervisor.kill()
    eventually(lambda: not stuck.is_running() or stuck.status() == psutil.STATUS_ZOMBIE)
    instance.run("wait", "e")


def fetcher(instance: Instance, hub: FakeHub) -> psutil.Process:
    """The one that waits for a file."""
    eventually(lambda: hub.asked("*/resolve/*"))
    found = instance.processes()
    (one,) = [one for one in found if "modeldeploy.hub" in (one.info["cmdline"] or [])]
    return one
