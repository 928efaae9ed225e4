from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from modeldeploy import apikeys
from modeldeploy.engines import environment
from modeldeploy.engines.environment import worker_environment
from modeldeploy.errors import InvalidSetting


def test_a_worker_is_offline_without_the_token_and_its_threads_are_bounded() -> None:
    env = worker_environment({"HF_TOKEN": "hf_x", "PATH": "/bin", "OMP_NUM_THREADS": "64"}, 3)
    assert "hf_x" not in env.values()
    assert env["PATH"] == "/bin"
    assert env["HF_HUB_OFFLINE"] == "1"
    assert env["OMP_NUM_THREADS"] == "3"
    assert env["OMP_WAIT_POLICY"] == "PASSIVE"


def test_a_worker_tells_nobody_what_it_runs(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    env = worker_environment({**os.environ, "HOME": str(tmp_path)}, 1)
    look = "import onnxruntime, os; print(len(os.listdir('/proc/self/task')))"
    threads = subprocess.run([sys.executable, "-c", look], env=env, capture_output=True, check=True)
    assert not list(tmp_path.iterdir()), "ONNX Runtime has put a device's id into the home"
    if sys.platform == "linux":
        assert threads.stdout.strip() == b"1", "what sends it runs, and no template could fork"


def test_variables_of_its_own_reach_it_beside_ours() -> None:
    own = {"MY_FLAG": "1", "PATH": "/own/bin"}
    env = worker_environment({"PATH": "/bin", "LANG": "C"}, 1, own)
    assert (env["MY_FLAG"], env["PATH"], env["LANG"]) == ("1", "/own/bin", "C")
    environment.check(own)


@pytest.mark.parametrize(
    "name",
    [
        *("HF_TOKEN", apikeys.VARIABLE, "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "my_api_key"),
        *("HF_HUB_OFFLINE", "OMP_NUM_THREADS", "MODELDEPLOY_HOME"),
    ],
)
def test_secrets_and_what_each_worker_is_given_are_refused(name: str) -> None:
    with pytest.raises(InvalidSetting, match=name):
        environment.check({name: "x"})
