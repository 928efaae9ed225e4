"""The fetcher is stopped."""

from __future__ import annotations

import signal

import psutil
import pytest

from tests.e2e.instance import Instance, eventually
from tests.fakehub import FakeHub
from tests.hub.conftest import files

pytestmark = pytest.mark.e2e


@pytest.mark.slow
@pytest.mark.promise(12, fault="the fetcher is stopped (SIGSTOP) while another waits for its model")
def test_a_stopped_fetcher_fails_its_own_deployment_and_no_other(
    instance: Instance, fake_hub: FakeHub
) -> None:
    fake_hub.add(
        "org/m", files({"config.json": b'{"model_type": "echo", "architectures": ["Echo"]}'})
    )
    fake_hub.fault("*/resolve/*", silent=True, times=1)
    instance.use_hub(fake_hub.endpoint)
    instance.env["MAX_DOWNLOAD_TIMEOUT"] = "2"
    instance.run("deploy", "org/m", "--name", "stuck", "-d")
    del instance.env["MAX_DOWNLOAD_TIMEOUT"]
    eventually(lambda: fake_hub.asked("*/resolve/*"))
    (stuck,) = fetchers(instance)
    stuck.send_signal(signal.SIGSTOP)
    assert instance.deploy("org/m", "--name", "waits")["state"] == "RUNNING"
    eventually(lambda: not stuck.is_running())
    error = eventually(lambda: instance.inspect("stuck")["error"])
    assert error["code"] == "download_timeout", error


@pytest.mark.promise(5, fault="the supervisor is killed while its fetcher is stopped (SIGSTOP)")
def test_a_stopped_fetcher_does_not_outlive_its_supervisor(
    instance: Instance, fake_hub: FakeHub
) -> None:
    fake_hub.add(
        "org/m", files({"config.json": b'{"model_type": "echo", "architectures": ["Echo"]}'})
    )
    fake_hub.fault("*/resolve/*", silent=True, times=1)
    instance.use_hub(fake_hub.endpoint)
    instance.run("deploy", "org/m", "--name", "e", "-d")
    eventually(lambda: fake_hub.asked("*/resolve/*"))
    (stuck,) = fetchers(instance)
    stuck.suspend()
    (supervisor,) = instance.supervisors()
    supervisor.kill()
    eventually(lambda: not stuck.is_running() or stuck.status() == psutil.STATUS_ZOMBIE)
    instance.run("wait", "e")


def fetchers(instance: Instance) -> list[psutil.Process]:
    return [one for one in instance.processes() if "modeldeploy.hub" in (one.info["cmdline"] or [])]
