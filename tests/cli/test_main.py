from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from modeldeploy import __version__
from modeldeploy.cli import daemon, main, output
from modeldeploy.cli.lazy import LazyGroup
from tests.cli.conftest import Run
from tests.cli.fake_supervisor import FakeSupervisor
from tests.cli.stories import deployment


def groups() -> list[LazyGroup]:
    assert isinstance(main.cli, LazyGroup)
    assert isinstance(daemon.daemon, LazyGroup)
    return [main.cli, daemon.daemon]


def test_the_table_of_verbs_says_what_the_commands_say() -> None:
    for group in groups():
        ctx = click.Context(group)
        for name, entry in group.entries.items():
            command = group.get_command(ctx, name)
            assert command is not None
            assert entry.hidden or command.short_help == entry.help
            assert command.help


def test_help_and_version(run: Run) -> None:
    assert run("--version").out == f"modeldeploy {__version__}\n"
    assert run().code == 0
    for verb in ("deploy", "logs", "daemon"):
        assert verb in run("-h").out
        assert run(verb, "--help").code == 0


def test_a_typo_is_answered_with_the_nearest_verb(run: Run) -> None:
    done = run("dploy", "gpt2")
    assert done.code == 2
    assert "did you mean 'deploy'" in done.err
    assert run("dploy", "--json").error["code"] == "usage"
    assert run("daemon").code == 2


def test_a_reader_that_has_seen_enough_is_no_error(fake: FakeSupervisor) -> None:
    for number in range(300):
        fake.deployments[f"d{number}"] = deployment(f"d{number}")
    done = subprocess.run(
        [
            "bash",
            "-c",
            f"set -o pipefail; {sys.executable} -m modeldeploy inspect "
            + " ".join(fake.deployments)
            + " | head -n 1",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "[\n"
    assert done.stderr == ""


def test_an_unusable_home_is_an_error_not_a_traceback(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MODELDEPLOY_HOME", str(tmp_path / "file" / "home"))
    done = run("ls", "--json")
    assert done.code == 2
    assert "file" in done.error["message"]


def test_a_bug_is_told_as_one(
    fake: FakeSupervisor, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("by nought")

    monkeypatch.setattr("modeldeploy.cli.listing.connect", broken)
    done = run("ls", "--json")
    assert (done.code, done.error["code"]) == (1, "internal_error")
    assert "ZeroDivisionError: by nought" in done.error["message"]


def test_no_color_is_obeyed(
    fake: FakeSupervisor, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.deployments["a"] = deployment("a")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert output._plain(sys.stdout) is False
    monkeypatch.setenv("NO_COLOR", "1")
    assert output._plain(sys.stdout) is True
    assert "\x1b" not in run("ls").out
