"""The disk is full: a small one of its own that is really filled."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from modeldeploy.errors import ModelDeployError
from modeldeploy.schema.states import State
from tests.e2e.instance import Instance, eventually, post
from tests.fakehub import FakeHub
from tests.faults.disk import SmallDisk, small_disk
from tests.faults.load import Load
from tests.hub.conftest import files

pytestmark = pytest.mark.e2e

WEIGHTS = "*/resolve/*/model.safetensors"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", "24m") as one:
        yield one


@pytest.fixture
def on_disk(disk: SmallDisk) -> Iterator[Instance]:
    """A home on the small disk, and the cache of models beside it."""
    one = Instance(disk.root / "home")
    try:
        one.run("daemon", "start")
        yield one
    finally:
        disk.free()
        one.close()


@pytest.mark.promise(10, fault="the disk is full while deployments are asked for")
@pytest.mark.promise(11, fault="the disk is full under load")
@pytest.mark.promise(1, fault="the supervisor is killed on a full disk")
def test_a_full_disk_stops_commands_and_nothing_else(
    disk: SmallDisk, on_disk: Instance, echo_model: str
) -> None:
    on_disk.ask_for(echo_model, "before")
    found = on_disk.client.wait("before")
    with Load(str(found.url)) as load:
        disk.fill()
        accepted, refused = _ask_for_some(on_disk, echo_model)
        assert {error.code for error in refused} == {"state_not_written"}
        assert all("free" in error.hint for error in refused)
        load.goes_on()
        os.kill(on_disk.daemon_pid(), signal.SIGKILL)
        load.goes_on()
        told = on_disk.run("daemon", "start", ok=False)
        assert told.returncode == 0 or "full" in told.stdout + told.stderr
        load.goes_on()
        disk.free()
        assert set(on_disk.names()) == {"before", *accepted}
        for name in accepted:
            on_disk.client.wait(name)
        load.goes_on()
    load.assert_all_answered()
    assert on_disk.client.deployment("before").replicas[0].pid == found.replicas[0].pid
    log = on_disk.home / "logs" / "deployments" / "before.log"
    written = log.stat().st_size
    post(f"{found.url}/predict", {"text": "x"})
    eventually(lambda: log.stat().st_size > written)


def _ask_for_some(instance: Instance, model: str) -> tuple[list[str], list[ModelDeployError]]:
    """Until one is refused: there may be room for a few more."""
    accepted: list[str] = []
    refused: list[ModelDeployError] = []
    while not refused:
        name = f"more-{len(accepted)}"
        try:
            instance.ask_for(model, name)
            accepted.append(name)
        except ModelDeployError as error:
            refused.append(error)
    return accepted, refused


@pytest.mark.promise(2, fault="a worker is killed while the disk is full")
@pytest.mark.promise(11, fault="a worker must be replaced on a full disk")
def test_a_worker_that_dies_on_a_full_disk_is_replaced_without_a_command(
    disk: SmallDisk, on_disk: Instance, echo_model: str
) -> None:
    on_disk.ask_for(echo_model, "e")
    found = on_disk.client.wait("e")
    disk.fill()
    os.kill(found.replicas[0].pid, signal.SIGKILL)
    time.sleep(3)  # long enough for every try that ends: there is nothing to wait for
    disk.free()
    assert post(f"{found.url}/predict", {"text": "x"})[0] == 200
    eventually(lambda: on_disk.client.deployment("e").state is State.RUNNING)


GPT2 = b'{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}'


@pytest.fixture
def cache_on_disk(disk: SmallDisk, instance: Instance, fake_hub: FakeHub) -> Instance:
    """A home that has room, whose models are kept on the small disk."""
    instance.env["HF_HOME"] = str(disk.root / "hf")
    instance.use_hub(fake_hub.endpoint)
    return instance


@pytest.mark.promise(12, fault="the disk fills in a download")
def test_a_disk_that_fills_in_a_download_ends_it_and_the_next_goes_on(
    disk: SmallDisk, cache_on_disk: Instance, fake_hub: FakeHub
) -> None:
    fake_hub.add("org/m", files({"config.json": GPT2}, size=600_000))
    fake_hub.fault(WEIGHTS, rate=150_000)
    cache_on_disk.run("deploy", "org/m", "--name", "m", "-d")
    eventually(lambda: fake_hub.sent(WEIGHTS) > 100_000)
    disk.fill()
    assert cache_on_disk.run("wait", "m", ok=False).returncode == 3
    error = cache_on_disk.client.deployment("m").error
    assert error
    assert error.code == "disk_full"
    named = [path for path in disk.root.rglob("blobs/*") if path.suffix != ".partial"]
    assert all(path.stat().st_size < 100_000 for path in named), "it has its final name"
    disk.free()
    fake_hub.heal()
    fake_hub.forget()
    cache_on_disk.run("start", "m", ok=False)  # its weights are noise: they come, and do not load
    assert 0 < fake_hub.sent(WEIGHTS) < 600_000


@pytest.mark.promise(12, fault="the disk has less room than the model needs")
def test_what_does_not_fit_is_said_before_it_comes(
    disk: SmallDisk, cache_on_disk: Instance, fake_hub: FakeHub
) -> None:
    fake_hub.add("org/m", files({"config.json": GPT2}, size=600_000))
    disk.fill(spare=400_000)
    done = cache_on_disk.run("deploy", "org/m", "--json", ok=False)
    assert done.returncode == 3
    assert "free" in done.stdout
    assert fake_hub.sent(WEIGHTS) == 0
