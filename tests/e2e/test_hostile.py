"""What a hostile or a hasty user found once; each stays found."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.instance import Instance, eventually, get
from tests.fakehub import FakeHub
from tests.models import tiny

pytestmark = pytest.mark.e2e

WEIGHTS = "*/resolve/*/model.safetensors"


def error_of(instance: Instance, *arguments: str) -> tuple[int, dict[str, Any]]:
    done = instance.run(*arguments, "--json", ok=False)
    assert "Traceback" not in done.stderr
    error: dict[str, Any] = json.loads(done.stdout)["error"]
    return done.returncode, error


@pytest.mark.promise(8, fault="two deployments ask for one port")
def test_a_port_asked_for_is_never_shared(instance: Instance, echo_model: str) -> None:
    port = str(instance.ports[1])
    instance.deploy(echo_model, "--name", "one", "--port", port)
    code, error = error_of(instance, "deploy", echo_model, "--name", "two", "--port", port)
    assert (code, error["code"]) == (1, "port_taken")
    assert "'one'" in error["message"]
    assert instance.names() == ["one"]


@pytest.mark.promise(8, fault="two supervisors take ports of one pool at once")
def test_two_supervisors_share_a_pool_and_never_a_port(
    instance: Instance, echo_model: str, tmp_path: Path
) -> None:
    other = Instance(tmp_path / "other")
    other.env["MODELDEPLOY_PORT_RANGE"] = instance.env["MODELDEPLOY_PORT_RANGE"]
    try:
        started = [
            each.start("deploy", echo_model, "--name", name, "--json")
            for each, name in ((instance, "mine"), (other, "theirs"))
        ]
        shown = [json.loads(process.communicate(timeout=120)[0]) for process in started]
        assert shown[0]["port"] != shown[1]["port"]
        for one in shown:
            assert get(one["endpoints"]["health"])[1]["deployment_id"] == one["name"]
    finally:
        other.close()


@pytest.mark.promise(8, fault="deployments that failed, in a pool of one port")
def test_failed_deployments_do_not_empty_the_pool(instance: Instance, echo_model: str) -> None:
    low = instance.ports[0]
    instance.env["MODELDEPLOY_PORT_RANGE"] = f"{low}-{low}"
    assert error_of(instance, "deploy", "builtin/nothing")[0] == 3
    assert instance.deploy(echo_model)["port"] == low


def test_start_brings_the_download_time_of_whoever_types_it(
    instance: Instance, fake_hub: FakeHub, tmp_path: Path
) -> None:
    instance.use_hub(fake_hub.endpoint)
    fake_hub.add("org/slow", tiny.gpt2(tmp_path / "m"))
    fake_hub.fault(WEIGHTS, rate=50_000)
    instance.env["MAX_DOWNLOAD_TIMEOUT"] = "1"
    assert error_of(instance, "deploy", "org/slow")[1]["code"] == "download_timeout"
    instance.env["MAX_DOWNLOAD_TIMEOUT"] = "100"
    instance.run("start", "slow")
    assert instance.inspect("slow")["state"] == "RUNNING"


@pytest.mark.promise(1, fault="the supervisor is killed in a gated download")
def test_a_new_supervisor_goes_on_with_a_gated_download(
    instance: Instance, fake_hub: FakeHub, tmp_path: Path
) -> None:
    instance.use_hub(fake_hub.endpoint)
    instance.env["HF_TOKEN"] = "hf_admitted"
    fake_hub.add("org/gated", tiny.gpt2(tmp_path / "m"), gated=True)
    fake_hub.fault(WEIGHTS, rate=40_000)
    instance.run("deploy", "org/gated", "-d")
    eventually(lambda: fake_hub.sent(WEIGHTS) > 10_000)
    os.kill(instance.daemon_pid(), signal.SIGKILL)
    fake_hub.heal()
    del instance.env["HF_ENDPOINT"]  # the deployment remembers where it comes from
    instance.run("wait", "gated")
    assert instance.inspect("gated")["state"] == "RUNNING"


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (("wait", "e", "--timeout", "nan"), 2),
        (("wait", "e", "--timeout", "inf"), 2),
        (("wait", "e", "--timeout", "1e12"), 2),
        (("predict", "e", "hi", "--timeout", "nan"), 2),
        (("deploy", "~nosuchuser/x"), 2),
        (("deploy", "builtin/sentiment", "--cache-dir", "~nosuchuser/x"), 2),
        (("logs", "e", "-n", "9" * 5000), 2),
        (("inspect", ""), 2),
        (("rm", ""), 2),
        (("inspect", "e/events"), 2),
        (("inspect", "../x"), 2),
    ],
)
@pytest.mark.promise(23, fault="names that would be paths")
def test_nonsense_is_told_as_such(
    instance: Instance, arguments: tuple[str, ...], exit_code: int
) -> None:
    code, error = error_of(instance, *arguments)
    assert code == exit_code, error
    assert error["message"]


@pytest.mark.parametrize("home", ["/dev/null", "~nosuchuser/x"])
def test_a_home_that_cannot_be_one_is_named(instance: Instance, home: str) -> None:
    instance.env["MODELDEPLOY_HOME"], real = home, instance.env["MODELDEPLOY_HOME"]
    code, error = error_of(instance, "ls")
    instance.env["MODELDEPLOY_HOME"] = real
    assert code == 2
    assert error["hint"]


def test_an_environment_file_that_is_no_text_is_named(instance: Instance) -> None:
    (instance.home.parent / ".env").write_bytes(b"A=\xff\xfe")
    code, error = error_of(instance, "ls")
    (instance.home.parent / ".env").unlink()
    assert (code, error["code"]) == (2, "invalid_setting")


def test_a_directory_of_the_user_keeps_its_modes(instance: Instance) -> None:
    instance.home.mkdir(parents=True, exist_ok=True)
    instance.home.chmod(0o755)
    instance.run("ls")
    assert instance.home.stat().st_mode & 0o777 == 0o755
    assert (instance.home / "state").stat().st_mode & 0o777 == 0o700


def test_following_logs_ends_with_the_deployment(instance: Instance, echo_model: str) -> None:
    instance.deploy(echo_model, "--name", "e")
    following = instance.start("logs", "-f", "e")
    eventually(lambda: get(instance.inspect("e")["endpoints"]["health"])[0] == 200)
    instance.run("rm", "-f", "e")
    out, _ = following.communicate(timeout=30)
    assert following.returncode == 0
    assert "ready" in out
