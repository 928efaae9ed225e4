"""``python -m modeldeploy.worker.loading.convert FILE FOLDER``: a GGUF file into a directory in Hub layout.

Exit status 0, or 1 with a problem as JSON on standard output.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import torch
import transformers

from modeldeploy.errors import ModelDeployError, ModelError
from modeldeploy.worker.failures import one_line
from modeldeploy.worker.loading.model_errors import typed_errors


def convert(file: Path, folder: Path) -> None:
    """Write config, weights and tokenizer of ``file`` into ``folder``.

    Quantised weights become float16: finer than what they are, and half as large as float32.

    Raises:
        ModelError: transformers cannot read it.
    """
    where: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True}
    with typed_errors("the GGUF file"):
        tokenizer = transformers.AutoTokenizer.from_pretrained(file.parent, **where)
        config = transformers.AutoConfig.from_pretrained(file.parent, **where)
        kind = _auto_class(config)
        model = kind.from_pretrained(file.parent, dtype=torch.float16, **where)
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config  # it is dequantised now
        model.hf_quantizer = None
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _auto_class(config: Any) -> Any:
    if type(config) in transformers.MODEL_FOR_CAUSAL_LM_MAPPING:
        return transformers.AutoModelForCausalLM
    return transformers.AutoModel


def main(file: str, folder: str) -> int:
    out = os.dup(1)
    os.dup2(2, 1)  # whatever else prints goes to standard error
    try:
        convert(Path(file), Path(folder))
    except Exception as error:  # the process's boundary
        if not isinstance(error, ModelDeployError):
            error = ModelError(f"the GGUF file cannot be converted: {one_line(error)}")
        os.write(out, msgspec.json.encode(error.problem()))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
