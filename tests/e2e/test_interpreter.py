"""Deployments with an interpreter, and variables, of their own: a virtual environment that sees our packages."""

from __future__ import annotations

import json
import shutil
import site
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

import modeldeploy
from tests.e2e.instance import Instance, eventually, post

pytestmark = pytest.mark.e2e


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A virtual environment with modeldeploy in it."""
    folder = tmp_path / "own env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    ours = [*site.getsitepackages(), str(Path(modeldeploy.__file__).parent.parent)]
    (packages / "ours.pth").write_text("\n".join(ours))
    return folder


def worker(shown: dict[str, Any]) -> psutil.Process:
    return psutil.Process(shown["replicas"][0]["pid"])


def test_a_deployment_runs_in_its_own_interpreter_with_its_own_variables(
    instance: Instance, own: Path, echo_model: str
) -> None:
    instance.env["MODELDEPLOY_WARM_START"] = "true"
    options = ("--name", "e", "--python", str(own), "--env", "MY_FLAG=a b")
    shown = instance.deploy(echo_model, *options)
    python = str(own / "bin" / "python")
    assert worker(shown).cmdline()[:3] == [python, "-m", "modeldeploy.worker"]
    assert worker(shown).environ()["MY_FLAG"] == "a b"
    assert post(f"{shown['url']}/predict", {"text": "hello"})[0] == 200
    worker(shown).kill()
    eventually(lambda: instance.inspect("e")["restarts"] == 1)
    after = json.loads(instance.run("wait", "e", "--json").stdout)
    assert worker(after).cmdline()[0] == python
    assert (after["spec"]["python"], after["spec"]["env"]) == (python, {"MY_FLAG": "a b"})

    beside = instance.deploy(echo_model, "--name", "beside", "--env", "MY_FLAG=2")
    assert worker(beside).environ()["MY_FLAG"] == "2"
    assert worker(beside).cmdline()[0] == sys.executable


def test_one_that_is_gone_is_named_and_what_is_put_right_starts(
    instance: Instance, own: Path, echo_model: str
) -> None:
    instance.run("deploy", echo_model, "--name", "e", "--python", str(own))
    shutil.move(own, own.with_name("moved"))
    worker(instance.inspect("e")).kill()
    failed = eventually(
        lambda: (one := instance.inspect("e"))["state"] == "FAILED" and one["error"]
    )
    assert failed["code"] == "interpreter_unfit"
    assert f"{own}/bin/python cannot be run: No such file" in failed["message"]
    again = instance.run("start", "e", "--json", ok=False)
    assert json.loads(again.stdout or again.stderr)["error"]["code"] == "interpreter_unfit"
    shutil.move(own.with_name("moved"), own)
    instance.run("start", "e")
