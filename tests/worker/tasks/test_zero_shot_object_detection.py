from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import to_builtins
from transformers import OmDetTurboConfig, pipeline

from modeldeploy.errors import InputTooLong, UnsupportedModel
from modeldeploy.worker.tasks.zero_shot_object_detection import ZeroShotObjectDetection
from tests.models import vision, vision_text
from tests.models.common import encoded
from tests.worker.adapters import inputs, loaded, parameters, predict, source
from tests.worker.tasks.batches import predict_together

TASK = "zero-shot-object-detection"
PICTURES = [vision.picture(seed, size) for seed, size in enumerate([(40, 30), (80, 60), (32, 32)])]
LABELS = ["a cat", "dog", "two small trees"]


@pytest.fixture(scope="module", params=[vision_text.owlvit, vision_text.grounding_dino])
def snapshot(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    make: Callable[[Path], Path] = request.param
    return make(tmp_path_factory.mktemp("detector"))


@pytest.fixture(scope="module")
def adapter(snapshot: Path) -> Any:
    return loaded(snapshot, TASK)


def _one(at: int) -> Any:
    return inputs(TASK, image=encoded(PICTURES[at]))


def _same(found: list[Any], expected: list[dict[str, Any]]) -> None:
    """Equal but for the order of scores that are as good as equal."""
    assert [one.score for one in found] == pytest.approx(
        [one["score"] for one in expected], abs=1e-4
    )

    def place(one: Any) -> Any:
        return (one["label"], *one["box"].values())

    assert sorted(map(place, to_builtins(found))) == sorted(map(place, expected))


def test_objects_are_those_of_the_pipeline(adapter: Any, snapshot: Path) -> None:
    detect = pipeline(TASK, model=str(snapshot), device="cpu")
    for at, picture in enumerate(PICTURES):
        for how in ({}, {"threshold": 0.0}, {"threshold": 0.0, "top_k": 2}):
            found = predict(adapter, _one(at), parameters(TASK, candidate_labels=LABELS, **how))
            _same(found, detect(picture, candidate_labels=LABELS, **how))
    assert len(found) == 2


def test_company_changes_nothing(adapter: Any) -> None:
    how = parameters(TASK, candidate_labels=LABELS, threshold=0.0)
    together, calls = predict_together(adapter, [_one(at) for at in range(3)], how)
    assert max(calls) > 1
    for at, found in enumerate(together):
        _same(found, to_builtins(predict(adapter, _one(at), how)))


def test_a_label_past_the_window_is_named(adapter: Any) -> None:
    with pytest.raises(InputTooLong, match=r"candidate_labels\[1\]"):
        adapter.pre(_one(0), parameters(TASK, candidate_labels=["cat", "x" * 70]))


def test_a_model_of_another_way_is_refused(tmp_path: Path) -> None:
    adapter = ZeroShotObjectDetection()
    adapter.config = OmDetTurboConfig(backbone_config=None, use_timm_backbone=False)
    with pytest.raises(UnsupportedModel, match="omdet-turbo"):
        adapter.prepare(source(tmp_path, TASK))
