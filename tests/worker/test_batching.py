"""What a deployment says of its calls reaches them, and /info tells what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modeldeploy.schema.computing import Batching
from tests.models import tiny
from tests.worker.live import LiveWorker, eventually, live_worker


def _calls(worker: LiveWorker) -> str:
    return str(worker.ask("GET", "/info").body["runs"]["calls"])


def test_calls_are_measured_once_it_serves(tmp_path: Path) -> None:
    model = tiny.classifier(tmp_path / "model")
    with live_worker(tmp_path, "text-classification", model, dtype="float32") as worker:
        worker.until("ready")
        told = eventually(lambda: "(measured: 64: " in _calls(worker) and _calls(worker))
        assert told.startswith("of up to 64 inputs and ")
        assert "tokens/s" in told
        assert worker.predict(text="not bad").status == 200


@pytest.mark.parametrize(
    ("batching", "told"),
    [
        ({"max_size": 5}, "of up to 5 inputs (set: max_batch_size)"),
        ({"window": 0.01}, "of up to 32 inputs, waiting 0.01 s for company"),
    ],
)
def test_calls_are_what_a_deployment_says(
    tmp_path: Path, batching: dict[str, Any], told: str
) -> None:
    with live_worker(tmp_path, "echo", tmp_path, batching=Batching(**batching)) as worker:
        worker.until("ready")
        assert _calls(worker) == told
        assert worker.predict(text="hello").status == 200


def test_tokens_of_calls_that_have_none_are_refused(tmp_path: Path) -> None:
    with live_worker(tmp_path, "echo", tmp_path, batching=Batching(max_tokens=64)) as worker:
        problem = worker.until("failed").problem
        assert problem is not None
        assert problem.code == "invalid_request"
        assert "max_batch_tokens" in problem.message
        assert "--max-batch-size" in problem.hint
