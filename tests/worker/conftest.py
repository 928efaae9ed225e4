from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worker.live import LiveWorker, live_worker


@pytest.fixture
def echo(tmp_path: Path) -> Iterator[LiveWorker]:
    """A worker of the task that needs no model, ready."""
    with live_worker(tmp_path, "echo", tmp_path) as worker:
        worker.until("ready")
        yield worker
