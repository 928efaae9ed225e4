"""What the tasks on a transformers model share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modeldeploy.worker.compute import packing
from tests.models import tiny
from tests.worker.adapters import loaded


def test_weights_that_are_packed_already_are_told_of_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = iter([29, 0])
    monkeypatch.setattr(packing, "pack", lambda *given: next(counts))
    adapter: Any = loaded(tiny.llama(tmp_path / "model"), "text-generation")
    adapter.pack()  # as when a graph comes beside which torch reads
    assert adapter.runs["weights"] == "packed by oneDNN (29 layers)"
