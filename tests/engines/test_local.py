from __future__ import annotations

from modeldeploy.engines.local import worker_environment


def test_a_worker_is_offline_without_the_token_and_its_threads_are_bounded() -> None:
    env = worker_environment({"HF_TOKEN": "hf_x", "PATH": "/bin", "OMP_NUM_THREADS": "64"}, 3)
    assert "hf_x" not in env.values()
    assert env["PATH"] == "/bin"
    assert env["HF_HUB_OFFLINE"] == "1"
    assert env["OMP_NUM_THREADS"] == "3"
    assert env["OMP_WAIT_POLICY"] == "PASSIVE"
