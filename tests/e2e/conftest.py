from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.instance import Instance
from tests.fakehub import fake_hub

__all__ = ["fake_hub"]


@pytest.fixture
def instance() -> Iterator[Instance]:
    """A fresh home. Not in pytest's own temporary folder: that is kept, this leaves nothing."""
    with tempfile.TemporaryDirectory(prefix="md-") as folder:
        one = Instance(Path(folder) / "home")
        try:
            yield one
        finally:
            one.close()


@pytest.fixture
def echo_model(tmp_path: Path) -> str:
    """A local directory that deploys as the task which needs no model."""
    folder = tmp_path / "echo"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "echo", "architectures": ["Echo"]}')
    return str(folder)
