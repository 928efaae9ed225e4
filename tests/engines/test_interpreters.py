"""Interpreters that deployments ask for: here they are scripts that say what one would."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from modeldeploy import __version__
from modeldeploy.engines import interpreters
from modeldeploy.errors import InterpreterUnfit, InvalidSetting


def examine(python: str) -> None:
    asyncio.run(interpreters.examine(python, os.environ))


def script(folder: Path, text: str) -> str:
    file = folder / "python"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return str(file)


def test_ours_fits() -> None:
    examine(sys.executable)


@pytest.mark.parametrize(
    ("says", "message", "hint"),
    [
        ("echo without torch transformers", "lacks torch and transformers", "-m pip install"),
        ("echo has 0.0.1", "has modeldeploy 0.0.1", f"modeldeploy=={__version__}"),
        ("echo hello; exit 3", "does not say what it has installed", "--python"),
        ("exit 1", "does not say what it has installed", "--python"),
        ("exec sleep 600", "does not say what it has installed", "--python"),
    ],
)
def test_another_does_not_and_it_is_said_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, message: str, hint: str
) -> None:
    monkeypatch.setattr(interpreters, "_LOOK_SECONDS", 1.0)
    with pytest.raises(InterpreterUnfit, match=message) as caught:
        examine(script(tmp_path, says))
    assert hint in caught.value.hint


def test_what_it_wrote_is_told(tmp_path: Path) -> None:
    with pytest.raises(InterpreterUnfit) as caught:
        examine(script(tmp_path, "echo libpython is missing >&2; exit 127"))
    assert caught.value.details == ("libpython is missing",)


def test_a_bare_environment_is_told_what_it_lacks(tmp_path: Path) -> None:
    bare = script(tmp_path, f'exec {sys.executable} -I -S "$@"')
    with pytest.raises(InterpreterUnfit, match="lacks modeldeploy and torch and transformers"):
        examine(bare)


@pytest.mark.parametrize("made", [None, "a folder", "no program"])
def test_what_cannot_be_run_is_said(tmp_path: Path, made: str | None) -> None:
    file = tmp_path / "python"
    if made == "a folder":
        file.mkdir()
    elif made:
        file.write_text("")
    with pytest.raises(InterpreterUnfit, match="cannot be run: "):
        examine(str(file))


def test_a_path_is_whole() -> None:
    interpreters.check(None)
    interpreters.check("/usr/bin/python3")
    with pytest.raises(InvalidSetting, match="not absolute"):
        interpreters.check("bin/python")
