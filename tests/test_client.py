from __future__ import annotations

import stat
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from modeldeploy import client, settings
from modeldeploy.client import Client, launch
from modeldeploy.errors import (
    Conflict,
    DaemonUnreachable,
    DeploymentFailed,
    DeploymentNotFound,
    InvalidName,
    NameTaken,
    WaitTimeout,
    WorkerDied,
)
from modeldeploy.schema.deployment import DeployRequest, HubAccess, Spec
from modeldeploy.schema.events import Event
from modeldeploy.schema.problem import Problem
from modeldeploy.schema.states import Desired, State
from modeldeploy.settings import Settings
from tests.cli.fake_supervisor import FakeSupervisor
from tests.cli.stories import NO_MEMORY, deployment, story

REQUEST = DeployRequest(spec=Spec(model_id="gpt2", cache_dir="/c"))


def values(home: Path, **environ: str) -> Settings:
    return settings.load(environ={"MODELDEPLOY_HOME": str(home), **environ}, directory=home.parent)


def speaking_to(fake: FakeSupervisor) -> Client:
    return Client(fake.where.control_socket)


def test_a_deploy_is_followed_to_its_end(tmp_path: Path) -> None:
    with FakeSupervisor(tmp_path / "h") as fake:
        speaks = speaking_to(fake)
        made = speaks.deploy(REQUEST)
        heard: list[Event] = []
        ready = speaks.wait(made.name, timeout=10, on_event=heard.append)
        assert ready.state is State.RUNNING
        assert [event.seq for event in heard] == [event.seq for event in fake.story]
        with pytest.raises(NameTaken):
            speaks.deploy(REQUEST)
        assert [one.name for one in speaks.deployments()] == ["gpt2"]


def test_a_failure_is_raised_as_what_it_was(tmp_path: Path) -> None:
    with FakeSupervisor(tmp_path / "h") as fake:
        speaks = speaking_to(fake)
        fake.story = story(NO_MEMORY)
        speaks.deploy(REQUEST)
        with pytest.raises(WorkerDied) as caught:
            speaks.wait("gpt2")
        assert caught.value.details == tuple(NO_MEMORY.details)
        assert caught.value.hint.startswith("see modeldeploy logs gpt2;")


def test_any_cause_of_failure_is_a_failed_deployment() -> None:
    failed = deployment(error=Problem(code="no_free_port", message="none"), state=State.FAILED)
    error = client.failure(failed)
    assert isinstance(error, DeploymentFailed)
    assert (error.exit_code, error.problem().code) == (3, "no_free_port")


def test_waiting_has_an_end(tmp_path: Path) -> None:
    with FakeSupervisor(tmp_path / "h") as fake:
        fake.hangs, fake.story = True, story()[:3]
        speaks = speaking_to(fake)
        speaks.deploy(REQUEST)
        began = time.monotonic()
        with pytest.raises(WaitTimeout):
            speaks.wait("gpt2", timeout=0.3)
        assert 0.2 < time.monotonic() - began < 5


def test_a_stream_that_ends_early_is_taken_up_where_it_was(tmp_path: Path) -> None:
    with FakeSupervisor(tmp_path / "h") as fake:
        whole = story()
        fake.story = whole[:5]
        speaks = speaking_to(fake)
        speaks.deploy(REQUEST)
        heard: list[int] = []

        def hear(event: Event) -> None:
            heard.append(event.seq)
            fake.story = whole

        speaks.wait("gpt2", timeout=10, on_event=hear)
        assert heard == [event.seq for event in whole]
        assert any("after=5&" in path for _, path, _ in fake.asked)


def test_a_log_is_read_on_behind_a_line(tmp_path: Path) -> None:
    with FakeSupervisor(tmp_path / "h") as fake:
        speaks = speaking_to(fake)
        name = speaks.deploy(REQUEST).name
        fake.lines = [replace(line, position=f"{n}-0") for n, line in enumerate(fake.lines)]
        lines = list(speaks.logs(name))
        assert lines == fake.lines
        assert list(speaks.logs(name, after=lines[2].position, tail=9)) == lines[3:]


def test_stop_and_remove_are_waited_for(tmp_path: Path) -> None:
    with FakeSupervisor(tmp_path / "h") as fake:
        speaks = speaking_to(fake)
        fake.deployments["a"] = deployment("a")
        speaks.stop("a")
        assert speaks.wait("a", timeout=5).state is State.STOPPED
        assert speaks.start("a", HubAccess()).desired is Desired.RUNNING
        speaks.remove("a")
        speaks.wait_gone("a")
        with pytest.raises(DeploymentNotFound):
            speaks.wait("a")


def test_what_is_no_name_reaches_no_path(tmp_path: Path) -> None:
    with FakeSupervisor(tmp_path / "h") as fake, pytest.raises(InvalidName):
        speaking_to(fake).deployment("a/../b?c")
    assert fake.asked == []


def test_nobody_there_is_its_own_error(tmp_path: Path) -> None:
    with pytest.raises(DaemonUnreachable) as caught:
        Client(tmp_path / "none.sock").status()
    assert caught.value.exit_code == 4
    assert "daemon start" in caught.value.hint


def test_a_running_supervisor_is_used_and_another_version_warned_of(tmp_path: Path) -> None:
    with FakeSupervisor(tmp_path / "h") as fake:
        assert client.connect(values(tmp_path / "h")).deployments() == []
        fake.version = "9.9"
        with pytest.warns(UserWarning, match=r"9\.9"):
            client.connect(values(tmp_path / "h"))


def a_supervisor_that(does: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def command(_: Settings) -> tuple[list[str], dict[str, str]]:
        return [sys.executable, "-c", does], {}

    monkeypatch.setattr(launch, "supervisor_command", command)


def test_a_supervisor_that_does_not_start_is_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_supervisor_that("import sys; sys.exit('the state is from the future')", monkeypatch)
    began = time.monotonic()
    with pytest.raises(DaemonUnreachable) as caught:
        client.ensure_running(values(tmp_path / "h"))
    assert time.monotonic() - began < 5
    assert caught.value.details == ("the state is from the future",)
    log = tmp_path / "h" / "logs" / "supervisor.log"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_a_lost_race_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_supervisor_that("", monkeypatch)  # ends with 0: somebody else holds the lock
    monkeypatch.setattr(launch, "_LOST_RACE_SECONDS", 30.0)
    winner = FakeSupervisor(tmp_path / "h")
    spawn = launch._spawn

    def spawn_and_lose(chosen: Settings) -> Any:
        child = spawn(chosen)
        child.wait()
        winner.__enter__()
        return child

    winner.where.control_socket.rename(tmp_path / "later")
    monkeypatch.setattr(
        launch, "_spawn", lambda chosen: _late(winner, spawn_and_lose(chosen), tmp_path)
    )
    try:
        client.ensure_running(values(tmp_path / "h"))
    finally:
        winner.__exit__()


def _late(winner: FakeSupervisor, child: Any, folder: Path) -> Any:
    (folder / "later").rename(winner.where.control_socket)
    return child


def test_secrets_are_not_handed_to_the_supervisor(tmp_path: Path) -> None:
    secrets = {"HF_TOKEN": "x", "HUGGING_FACE_HUB_TOKEN": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    _, env = client.supervisor_command(values(tmp_path / "h", HF_HOME="/hf", **secrets))
    assert env == {"MODELDEPLOY_HOME": str(tmp_path / "h"), "HF_HOME": "/hf"}


def test_the_hub_is_asked_as_the_environment_says(tmp_path: Path) -> None:
    access = client.hub_access(values(tmp_path, HF_ENDPOINT="http://e", HF_HUB_OFFLINE="1"))
    assert access == HubAccess(endpoint="http://e", token=None, offline=True)
    assert client.hub_access(values(tmp_path, HUGGING_FACE_HUB_TOKEN="t")).token == "t"
    assert "secret" not in repr(client.hub_access(values(tmp_path, HF_TOKEN="secret")))


def test_a_refusal_keeps_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ending(name: str) -> Any:
        raise Conflict("the supervisor is ending", hint="try again in a moment")

    with FakeSupervisor(tmp_path / "h") as fake:
        monkeypatch.setattr(fake, "one", ending)
        with pytest.raises(Conflict, match="ending") as caught:
            speaking_to(fake).deployment("a")
    assert caught.value.hint == "try again in a moment"
