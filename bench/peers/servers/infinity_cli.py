"""infinity's own command line. Its ONNX engine names a file by its whole path, and optimum 2 looks for
the bare name."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any


def _bare(find: Any, **asked: Any) -> Path:
    return Path(find(**asked).name)


def main() -> None:
    for kind in ("embedder", "classifier"):
        engine: Any = import_module(f"infinity_emb.transformer.{kind}.optimum")
        engine.get_onnx_files = partial(_bare, engine.get_onnx_files)
    import_module("infinity_emb.cli").cli()


if __name__ == "__main__":
    main()
