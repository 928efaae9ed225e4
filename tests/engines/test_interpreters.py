"""Interpreters that deployments ask for: here they are scripts, which write what one would find."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from modeldeploy import __version__
from modeldeploy.engines import interpreters
from modeldeploy.errors import InterpreterUnfit, InvalidSetting


def examine(python: str, folder: Path) -> None:
    asyncio.run(interpreters.examine(python, os.environ, str(folder / "log")))


def script(folder: Path, text: str) -> str:
    """``$3`` is where an interpreter writes what it found."""
    file = folder / "own python"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return str(file)


def test_ours_fits(tmp_path: Path) -> None:
    examine(sys.executable, tmp_path)


@pytest.mark.parametrize(
    ("does", "message", "hint"),
    [
        ("echo none > $3", "lacks modeldeploy", "own python' -m pip install"),
        ("echo 0.0.1 > $3", "has modeldeploy 0.0.1", f"modeldeploy {__version__}"),
        (
            f"printf '{__version__}\ntorch\nx<2 (it has 3)' > $3",
            r"lacks torch, x<2 \(it has 3",
            "pip",
        ),
        ("echo hello", "does not say what it has installed", "--python"),
        (r"printf '\377' > $3", "does not say what it has installed", "--python"),
    ],
)
def test_another_does_not_and_it_is_said_what_to_do(
    tmp_path: Path, does: str, message: str, hint: str
) -> None:
    with pytest.raises(InterpreterUnfit, match=message) as caught:
        examine(script(tmp_path, does), tmp_path)
    assert hint in caught.value.hint


@pytest.mark.parametrize("hangs", ["sleep 600", "sleep 600 & wait", "yes"])
def test_one_that_hangs_is_given_up_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hangs: str
) -> None:
    monkeypatch.setattr(interpreters, "_LOOK_SECONDS", 0.5)
    leader = tmp_path / "leader"
    begun = time.monotonic()
    with pytest.raises(InterpreterUnfit, match="did not say within"):
        examine(script(tmp_path, f"echo $$ > '{leader}'; {hangs}"), tmp_path)
    assert time.monotonic() - begun < 60
    group = int(leader.read_text())
    while any(_lives_in(group, one) for one in psutil.process_iter()):
        assert time.monotonic() - begun < 60
        time.sleep(0.05)


def _lives_in(group: int, process: psutil.Process) -> bool:
    try:
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False


def test_what_it_writes_itself_is_in_the_log(tmp_path: Path) -> None:
    with pytest.raises(InterpreterUnfit, match="does not say"):
        examine(script(tmp_path, "echo libpython is missing >&2; exit 127"), tmp_path)
    assert "libpython is missing" in (tmp_path / "log").read_text()


def test_a_bare_environment_is_told_what_it_lacks(tmp_path: Path) -> None:
    bare = script(tmp_path, f'exec {sys.executable} -I -S "$@"')
    with pytest.raises(InterpreterUnfit, match="lacks modeldeploy"):
        examine(bare, tmp_path)


def test_versions_that_are_too_old_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An installation that says of itself that it needs what is not there."""
    info = tmp_path / f"modeldeploy-{__version__}.dist-info"
    info.mkdir()
    needs = ("click>=99", "no-such-thing", "msgspec>=0.1", 'other>1; extra == "x"')
    requires = "".join(f"Requires-Dist: {one}\n" for one in needs)
    text = f"Metadata-Version: 2.1\nName: modeldeploy\nVersion: {__version__}\n{requires}"
    (info / "METADATA").write_text(text)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    with pytest.raises(InterpreterUnfit, match=r"lacks click>=99 \(it has .*\), no-such-thing$"):
        examine(sys.executable, tmp_path)


def test_what_is_no_name_of_a_file_cannot_be_run(tmp_path: Path) -> None:
    with pytest.raises(InterpreterUnfit, match="cannot be run: "):
        examine("/" + "a" * 300, tmp_path)


@pytest.mark.parametrize("made", ["nothing", "a folder", "no program", "a format of its own"])
def test_what_cannot_be_run_is_said(tmp_path: Path, made: str) -> None:
    file = tmp_path / "python"
    if made == "a folder":
        file.mkdir()
    elif made != "nothing":
        file.write_text("" if made == "no program" else "\0\0")
        file.chmod(0o644 if made == "no program" else 0o755)
    with pytest.raises(InterpreterUnfit, match="cannot be run: "):
        examine(str(file), tmp_path)


def test_a_machine_that_is_short_of_something_is_no_fault_of_the_interpreter() -> None:
    assert not {errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE} & interpreters.CANNOT_RUN


def test_a_path_is_whole_and_an_environment_stands_for_its_interpreter(tmp_path: Path) -> None:
    assert interpreters.settled("/usr/bin/python3") == "/usr/bin/python3"
    assert interpreters.settled(str(tmp_path)) == str(tmp_path / "bin" / "python")
    assert interpreters.settled(long := "/" + "a" * 300) == long
    with pytest.raises(InvalidSetting, match="not absolute"):
        interpreters.settled("bin/python")
