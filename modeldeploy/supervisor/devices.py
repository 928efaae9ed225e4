"""Which accelerators there are, asked without importing torch."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping

from modeldeploy.errors import DeviceUnavailable
from modeldeploy.schema.deployment import Spec

_ASK_SECONDS = 10
_VISIBLE = "CUDA_VISIBLE_DEVICES"


def gpu_count(env: Mapping[str, str]) -> int:
    """NVIDIA GPUs that a worker with these variables beside ours would see (``CUDA_VISIBLE_DEVICES``)."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    try:
        found = subprocess.run(
            [tool, "-L"], capture_output=True, text=True, timeout=_ASK_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    there = sum(line.startswith("GPU ") for line in found.stdout.splitlines())
    visible = env.get(_VISIBLE, os.environ.get(_VISIBLE))
    if visible is None:
        return there
    return min(there, sum(bool(part.strip("- ")) for part in visible.split(",")))


def has_mps() -> bool:
    return platform.system() == "Darwin" and platform.machine() == "arm64"


def check(spec: Spec) -> None:
    """Whether a deployment may ask for its device here.

    Raises:
        DeviceUnavailable: it is not there, or a GPU is demanded and there is none.
    """
    device, force_gpu = spec.device, spec.force_gpu
    if device == "cpu" and force_gpu:
        raise DeviceUnavailable(
            "FORCE_GPU is set and the device asked for is cpu",
            hint="unset FORCE_GPU, or leave --device out",
        )
    if device == "mps" and not has_mps():
        raise DeviceUnavailable("there is no Apple GPU here", hint="use --device auto or cpu")
    if device == "mps" or (device in {"auto", "cpu"} and not force_gpu):
        return
    count = gpu_count(spec.env)
    if force_gpu and count == 0 and not has_mps():
        raise DeviceUnavailable(
            "FORCE_GPU is set and no GPU was found on this machine",
            hint="unset FORCE_GPU to deploy on the CPU",
        )
    if device.startswith("cuda"):
        _check_cuda(device, count)


def _check_cuda(device: str, count: int) -> None:
    index = int(device.partition(":")[2] or 0)
    if index >= count:
        have = "no NVIDIA GPU was found" if not count else f"there are {count} (cuda:0 the first)"
        raise DeviceUnavailable(
            f"--device {device}: {have} on this machine", hint="use --device auto or cpu"
        )
