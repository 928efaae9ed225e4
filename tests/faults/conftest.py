from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from modeldeploy.schema.deployment import Deployment
from modeldeploy.schema.states import State
from tests.e2e.conftest import echo_model, instance
from tests.e2e.instance import Instance, eventually
from tests.fakehub import fake_hub
from tests.faults.load import Load

__all__ = ["echo_model", "fake_hub", "instance"]


@dataclass
class Pair:
    """Two deployments of one supervisor: ``victim`` is harmed, ``bystander`` must not notice."""

    instance: Instance
    model: str

    def deployed(self, name: str) -> Deployment:
        return self.instance.client.deployment(name)

    @property
    def victim(self) -> Deployment:
        return self.deployed("victim")

    def pid(self, name: str = "victim") -> int:
        """Its worker's, once it is ready."""
        return int(eventually(lambda: self._ready(name)).replicas[0].pid)

    def _ready(self, name: str) -> Deployment | None:
        found = self.deployed(name)
        return found if found.state is State.RUNNING and found.replicas else None

    def make_whole(self) -> None:
        """Both are there and run."""
        self.instance.run("daemon", "start")
        client = self.instance.client
        names = {one.name for one in client.deployments()}
        for name in ("victim", "bystander"):
            if name not in names:
                self.instance.ask_for(self.model, name)
            elif self.deployed(name).state in {State.STOPPED, State.FAILED}:
                client.start(name)
            client.wait(name, timeout=60)


@pytest.fixture(scope="module")
def shared_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """One supervisor for a module: a hung worker is found after two seconds, and what is being
    answered has four to end."""
    model = tmp_path_factory.mktemp("echo")
    (model / "config.json").write_text('{"model_type": "echo", "architectures": ["Echo"]}')
    with tempfile.TemporaryDirectory(prefix="md-") as folder:
        one = Instance(
            Path(folder) / "home",
            MODELDEPLOY_HEARTBEAT_TIMEOUT="2",
            MODELDEPLOY_DRAIN_TIMEOUT="4",
        )
        try:
            yield Pair(one, str(model))
        finally:
            one.close()


@pytest.fixture
def pair(shared_pair: Pair) -> Iterator[Pair]:
    """Whole before each test; and through it the bystander answers everything."""
    shared_pair.make_whole()
    with Load(str(shared_pair.deployed("bystander").url), clients=2, pause=0.01) as load:
        yield shared_pair
        load.goes_on()
    load.assert_all_answered()
