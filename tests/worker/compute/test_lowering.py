"""Weights go to bfloat16 only where results stay close, and come back unchanged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from modeldeploy.schema.tasks import TASKS
from modeldeploy.worker import examples
from modeldeploy.worker.compute import lowering
from tests.models import sounds, tiny
from tests.worker.adapters import loaded
from tests.worker.tasks.test_image_classification import vit as picture_classifier


@pytest.mark.parametrize(
    ("make", "task"),
    [
        (tiny.classifier, "text-classification"),
        (lambda folder: tiny.sentence_encoder(folder, "mean"), "feature-extraction"),
        (picture_classifier, "image-classification"),
        (sounds.classifier, "audio-classification"),
    ],
)
def test_results_are_close(tmp_path: Path, make: Callable[[Path], Path], task: str) -> None:
    adapter: Any = loaded(make(tmp_path), task, optimize="no")
    words = lowering.lower(adapter.model, lambda: examples.warm_up(adapter, TASKS[task]))
    assert words.startswith("bfloat16, results off by 0.0")
    assert adapter.info().dtype == "bfloat16"


def test_what_is_too_far_off_stays_in_float32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lowering, "CLOSE", 1e-9)
    adapter: Any = loaded(tiny.classifier(tmp_path), "text-classification", optimize="no")
    before = {name: one.clone() for name, one in adapter.model.state_dict().items()}
    task = TASKS["text-classification"]
    words = lowering.lower(adapter.model, lambda: examples.warm_up(adapter, task))
    assert words.startswith("float32: in bfloat16 results would be off by ")
    assert all(torch.equal(one, before[name]) for name, one in adapter.model.state_dict().items())
