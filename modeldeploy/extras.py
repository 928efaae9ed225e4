"""Packages that only some models need, as the extras of ``pyproject.toml`` name them."""

from __future__ import annotations

import importlib.util

from modeldeploy.errors import UnsupportedModel

_PACKAGES = {"gguf": ("gguf", "accelerate"), "peft": ("peft",)}


def require(extra: str, what: str) -> None:
    """
    Raises:
        UnsupportedModel: a package of ``extra``, which ``what`` needs, is not installed.
    """
    missing = [name for name in _PACKAGES[extra] if importlib.util.find_spec(name) is None]
    if missing:
        raise UnsupportedModel(
            f"{what} needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} "
            "not installed",
            hint=f"pip install 'modeldeploy[{extra}]', then modeldeploy start NAME",
        )
