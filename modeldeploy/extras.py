"""Packages that only some models need, as the extras of ``pyproject.toml`` name them."""

from __future__ import annotations

import importlib.util
import shlex
import sys

from modeldeploy.errors import UnsupportedModel

_PACKAGES = {
    "gguf": ("gguf", "accelerate"),
    "onnx": ("onnxruntime", "onnxscript"),
    "openvino": ("openvino", "onnxscript"),
    "peft": ("peft",),
}


def missing(extra: str) -> list[str]:
    """The packages of ``extra`` that are not installed."""
    return [name for name in _PACKAGES[extra] if importlib.util.find_spec(name) is None]


def require(extra: str, what: str) -> None:
    """
    Raises:
        UnsupportedModel: a package of ``extra``, which ``what`` needs, is not installed.
    """
    if names := missing(extra):
        raise UnsupportedModel(
            f"{what} needs {' and '.join(names)}, which {'is' if len(names) == 1 else 'are'} "
            "not installed",
            hint=f"{shlex.quote(sys.executable)} -m pip install 'modeldeploy[{extra}]', then "
            "modeldeploy start NAME",
        )
