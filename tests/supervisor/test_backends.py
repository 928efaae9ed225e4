"""A backend that was asked for is had, or refused before anything is started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modeldeploy.errors import DeviceUnavailable, InvalidSetting
from modeldeploy.schema.deployment import Spec
from modeldeploy.supervisor import backends, devices


def _spec(**changes: Any) -> Spec:
    usual: dict[str, Any] = {"model_id": "m", "device": "auto", "dtype": "auto", "cache_dir": "c"}
    return Spec(**{**usual, **changes})


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"optimize": "no"}, "--no-optimize"),
        ({"device": "cuda:0"}, "--device cuda:0"),
        ({"device": "mps"}, "--device mps"),
        ({"force_gpu": True}, "FORCE_GPU"),
        ({"dtype": "bfloat16"}, "--dtype bfloat16"),
    ],
)
def test_a_graph_is_refused_what_it_cannot_be(
    backend: str, changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(InvalidSetting, match=f"--backend {backend} .*{named}") as caught:
        backends.check(_spec(backend=backend, **changes))
    assert caught.value.hint
    for other in ("auto", "torch"):
        backends.check(_spec(backend=other, **changes))


def test_a_graph_is_computed_on_the_cpu_in_float32() -> None:
    for optimize in ("equal", "close"):
        spec = _spec(backend="onnx", optimize=optimize)
        backends.check(spec)
        assert backends.place(spec) == ("cpu", "float32")
    assert backends.place(_spec(device="cuda", dtype="float16")) == ("cuda", "float16")


def test_where_a_gpu_is_demanded_no_torch_falls_back_to_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for has_mps, device in ((False, "cuda"), (True, "auto")):
        monkeypatch.setattr(devices, "has_mps", lambda has_mps=has_mps: has_mps)
        assert backends.place(_spec(force_gpu=True)) == (device, "auto")
    assert backends.place(_spec()) == ("auto", "auto")


def test_what_its_own_variables_hide_is_no_gpu_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho GPU 0: one; echo GPU 1: other\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    devices.check(_spec(device="cuda:1"))
    devices.check(_spec(force_gpu=True, env={"CUDA_VISIBLE_DEVICES": "1"}))
    for wrong in (
        {"device": "cuda:1", "env": {"CUDA_VISIBLE_DEVICES": "1"}},
        {"force_gpu": True, "env": {"CUDA_VISIBLE_DEVICES": ""}},
    ):
        with pytest.raises(DeviceUnavailable):
            devices.check(_spec(**wrong))
