"""Whether a model fits this machine, asked before its download."""

from __future__ import annotations

import shutil
from pathlib import Path

from modeldeploy import machine
from modeldeploy.errors import DiskFull, ModelTooLarge


def human(size: float) -> str:
    """Bytes the way the Hub writes them: 1 GB is 10^9."""
    if size < 1000:
        return f"{int(size)} B"
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 999.95:
            return f"{size:.1f} {unit}"
    return f"{size / 1000:.1f} TB"


def check_memory(weights_bytes: int, device: str) -> None:
    """Raises ModelTooLarge where the weights alone exceed all the memory there is.

    Conservative: it refuses only what can never run. A graphics card has its own memory, and
    weights are not read into the host's on their way there.
    """
    total = machine.memory_total()
    if weights_bytes > total and not device.startswith("cuda"):
        raise ModelTooLarge(
            f"its weights take {human(weights_bytes)}, this machine has {human(total)} of memory",
            hint="deploy a smaller or quantised model, or use a machine with more memory",
        )


def check_disk(needed: int, margin: int, cache: Path) -> None:
    """Raises DiskFull where ``needed`` more bytes would not leave ``margin`` free."""
    place = next(path for path in (cache, *cache.parents) if path.exists())
    free = shutil.disk_usage(place).free
    if needed and needed + margin > free:
        raise disk_full(cache, free, needed + margin)


def disk_full(cache: Path, free: int, needed: int) -> DiskFull:
    return DiskFull(
        f"the download needs {human(needed)} and {cache} has {human(free)} free",
        hint="free some space or choose another disk with --cache-dir; what is already here is kept, "
        "and `modeldeploy start NAME` goes on where it stopped",
    )
