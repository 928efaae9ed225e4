"""Where a model runs and in which dtype."""

from __future__ import annotations

import torch

from modeldeploy import machine
from modeldeploy.errors import DeviceUnavailable
from modeldeploy.schema.worker import HOST, Reserved

_FIRST, _SHARE_OF_GPU = 4, 0.8
_DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


def choose_device(asked: str) -> torch.device:
    """The device for ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``; ``auto`` and ``cuda``
    take the GPU with the most free memory.

    Raises:
        DeviceUnavailable: it is not on this machine.
    """
    if asked == "cpu":
        return torch.device("cpu")
    if asked == "mps":
        return _mps()
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if asked == "auto" and not gpus:
        return _mps() if _has_mps() else torch.device("cpu")
    if not gpus:
        raise DeviceUnavailable(
            f"--device {asked}: torch sees no NVIDIA GPU here", hint="use --device auto or cpu"
        )
    if asked in {"auto", "cuda"}:
        free = [torch.cuda.mem_get_info(index)[0] for index in range(gpus)]
        return torch.device("cuda", free.index(max(free)))
    index = int(asked.partition(":")[2])
    if index >= gpus:
        raise DeviceUnavailable(
            f"--device {asked}: torch sees {gpus} GPU(s) here (cuda:0 is the first)",
            hint="use --device auto",
        )
    return torch.device("cuda", index)


def prepare(device: torch.device) -> None:
    """Have torch compute there as suits inputs of all shapes."""
    if device.type == "cuda":
        # cuDNN plans its attention anew for each shape: 45 ms on an H100, ten times what a call takes.
        torch.backends.cuda.enable_cudnn_sdp(False)


def _has_mps() -> bool:
    return torch.backends.mps.is_available()


def _mps() -> torch.device:
    if not _has_mps():
        raise DeviceUnavailable("there is no Apple GPU here", hint="use --device auto or cpu")
    return torch.device("mps")


def choose_dtype(
    asked: str, checkpoint: torch.dtype | None, device: torch.device, *, cpu_bf16: bool
) -> torch.dtype:
    """The dtype for ``auto`` or one of the names. ``checkpoint`` is the config's own.

    A GPU computes in float16, or in bfloat16 where the checkpoint is bfloat16 and the GPU has it;
    a CPU in float32, except that bfloat16 stays where the CPU computes it natively.
    """
    if asked != "auto":
        return _DTYPES[asked]
    stored_bf16 = checkpoint is torch.bfloat16
    if device.type == "cpu":
        return torch.bfloat16 if stored_bf16 and cpu_bf16 else torch.float32
    if stored_bf16 and (device.type == "mps" or torch.cuda.is_bf16_supported()):
        return torch.bfloat16
    return torch.float16


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def kept_bytes(
    device: torch.device,
    memory: int | None = None,
    others: Reserved = Reserved(),  # noqa: B008  # frozen
) -> int:
    """What the keys and values of texts that are being written may take together, of what is free now
    and of no ``others``, where the worker may take ``memory``: half of what is left of that at the most, for
    calls take memory too."""
    theirs = others.bytes.get(memory_name(device), 0)
    if device.type == "cuda":
        torch.cuda.empty_cache()  # what torch keeps of what was freed is free
        free, _ = torch.cuda.mem_get_info(device)
        return int(max(0, free - theirs) * _SHARE_OF_GPU)
    available = max(0, machine.memory_available() - theirs)
    ours = int(available * _share(others.writers, others.loading))
    if memory is None:
        return ours
    left = max(0, memory - machine.own_bytes())
    return min(ours, memory // _FIRST, left // 2)


def memory_name(device: torch.device) -> str:
    """The memory that it computes in: the host's, or a GPU's, which each process may number otherwise."""
    if device.type != "cuda":
        return HOST
    return str(getattr(torch.cuda.get_device_properties(device), "uuid", device))


def _share(writers: int, loading: int) -> float:
    """A quarter of what is left for the first that writes, a fifth for the next, and so on. Those who are
    ``loading`` have not taken theirs, and what is left will be so much less."""
    will_be_left = (_FIRST - 1 + writers - loading) / (_FIRST - 1 + writers)
    return will_be_left / (_FIRST + writers)
