from __future__ import annotations

import json
from pathlib import Path

import pytest

from modeldeploy.cli import listing, output
from modeldeploy.schema.control import GatewayStatus
from modeldeploy.schema.states import Desired, State
from tests.cli.conftest import Run
from tests.cli.fake_supervisor import FakeSupervisor
from tests.cli.stories import NO_MEMORY, deployment


@pytest.fixture
def two(fake: FakeSupervisor) -> FakeSupervisor:
    fake.deployments["a"] = deployment("a", "org/first")
    fake.deployments["b"] = deployment(
        "b", "org/second", state=State.STOPPED, desired=Desired.STOPPED, ready_at=None
    )
    return fake


def test_ls_shows_the_columns_and_has_json_and_quiet(two: FakeSupervisor, run: Run) -> None:
    for verb in ("ls", "ps"):
        header, first, second = run(verb).out.splitlines()
        assert tuple(header.split()) == listing.COLUMNS
        assert first.split()[:5] == ["a", "org/first", "text-generation", "RUNNING", "8100"]
        assert second.split()[3] == "STOPPED"
    assert run("ls", "-q").out == "a\nb\n"
    assert run("ls", "-q", "--json").json == ["a", "b"]
    assert [one["name"] for one in run("ls", "--json").json] == ["a", "b"]


def test_ls_fits_80_columns_on_a_terminal(
    two: FakeSupervisor, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    two.deployments["c"] = deployment("c", "/very/long/path/to/a/model", error=NO_MEMORY)
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    done = run("ls")
    assert max(map(len, done.out.splitlines())) <= 80
    assert "a/model" in done.out
    assert NO_MEMORY.message in done.err


def test_a_gateway_that_is_elsewhere_is_told_of(
    two: FakeSupervisor, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    assert "gateway   http://127.0.0.1:8000\n" in run("daemon", "status").out
    assert "gateway" not in run("ls").err
    notice = "port 8000 is taken by another program; the gateway is on 8001 instead"
    two.gateway = GatewayStatus(url="http://127.0.0.1:8001", notice=notice)
    assert f"http://127.0.0.1:8001 ({notice})" in run("daemon", "status").out
    assert notice in run("ls").err
    two.gateway = GatewayStatus()
    assert "gateway   none\n" in run("daemon", "status").out


def test_inspect_prints_an_array_and_an_unknown_name_is_an_error(
    two: FakeSupervisor, run: Run
) -> None:
    assert [one["name"] for one in run("inspect", "b", "a").json] == ["b", "a"]
    assert run("inspect", "a").json[0]["replicas"][0]["pid"] == 4242
    assert run("inspect", "no/such", "--json").error["code"] == "invalid_name"
    done = run("inspect", "a", "no-such", "--json")
    assert (done.code, done.error["code"]) == (1, "deployment_not_found")


def test_stop_waits_until_it_is_stopped(two: FakeSupervisor, run: Run) -> None:
    assert run("stop", "a").out == "a\n"
    assert two.deployments["a"].state is State.STOPPED
    assert run("start", "a", "b").out == "a\nb\n"
    assert two.deployments["b"].state is State.RUNNING
    assert run("restart", "a", "--json").json[0]["state"] == "RUNNING"
    assert run("stop", "--all").out == "a\nb\n"
    assert run("start", "--all", "-d").out == "a\nb\n"


def test_one_bad_name_does_not_keep_the_others_from_it(two: FakeSupervisor, run: Run) -> None:
    done = run("stop", "none", "a")
    assert (done.code, done.out) == (1, "a\n")
    assert "'none'" in done.err


def test_names_or_all_but_not_both(two: FakeSupervisor, run: Run) -> None:
    assert run("stop").code == 2
    assert run("stop", "a", "--all").code == 2
    assert two.deployments["a"].state is State.RUNNING


def test_rm_wants_force_for_a_running_one(two: FakeSupervisor, run: Run) -> None:
    refused = run("rm", "a")
    assert (refused.code, set(two.deployments)) == (1, {"a", "b"})
    assert "modeldeploy rm -f a" in refused.err
    assert run("rm", "--all").out == "b\n"
    assert run("rm", "-f", "a", "--json").json[0]["name"] == "a"
    assert not two.deployments


def test_wait_ends_as_the_deployment_does(two: FakeSupervisor, run: Run) -> None:
    assert run("wait", "a", "--json").json["state"] == "RUNNING"
    done = run("wait", "b", "--json")
    assert (done.code, done.error["code"]) == (1, "conflict")
    assert run("wait", "none").code == 1


def test_logs_have_tail_since_and_timestamps(two: FakeSupervisor, run: Run) -> None:
    assert run("logs", "a").out.splitlines() == [f"line {n}" for n in range(5)]
    assert run("logs", "a", "-n", "2").out == "line 3\nline 4\n"
    assert run("logs", "a", "--since", "1700000004").out == "line 4\n"
    assert run("logs", "a", "-t", "-n1").out == "2023-11-14T22:13:24.000Z line 4\n"
    assert json.loads(run("logs", "a", "-n1", "--json").out)["text"] == "line 4"
    for wrong in (("-n", "x"), ("-n", "-1"), ("--since", "yesterday")):
        assert run("logs", "a", *wrong).code == 2


def test_daemon_status_and_stop_start_nothing(run: Run, home: Path) -> None:
    done = run("daemon", "status", "--json")
    assert (done.code, done.error["code"]) == (4, "daemon_unreachable")
    assert run("daemon", "stop").code == 0
    assert run("daemon", "logs").out == ""
    assert not (home / "run" / "supervisor.lock").exists()


def test_daemon_status_logs_and_stop(two: FakeSupervisor, run: Run) -> None:
    assert run("daemon", "status", "--json").json["pid"] == two.pid
    assert f"pid {two.pid}" in run("daemon", "start").out
    two.where.supervisor_log.write_text("one\ntwo\nthree\n")
    assert run("daemon", "logs", "-n", "2").out == "two\nthree\n"
    assert run("daemon", "stop", "--keep-workers", "--json").json["pid"] == two.pid
    assert two.asked[-1] == ("POST", "/v1/shutdown", {"workers": "keep"})


def test_another_version_of_the_supervisor_is_pointed_out(two: FakeSupervisor, run: Run) -> None:
    two.version = "9.9.9"
    done = run("ls", "-q")
    assert (done.code, done.out) == (0, "a\nb\n")
    assert "9.9.9" in done.err
