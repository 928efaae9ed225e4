from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modeldeploy.worker.compute import packing
from tests.worker.live import LiveWorker, live_worker


@pytest.fixture(scope="session", autouse=True)
def _plain_weights() -> Iterator[None]:
    """Whether packing them pays is timed, and with tiny models noise decides."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "_is_faster", lambda layers, rows: False)
        yield


@pytest.fixture
def echo(tmp_path: Path) -> Iterator[LiveWorker]:
    """A worker of the task that needs no model, ready."""
    with live_worker(tmp_path, "echo", tmp_path) as worker:
        worker.until("ready")
        yield worker
