from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import pipeline

from modeldeploy.errors import InputTooLong
from tests.models import vision, vision_text
from tests.models.common import encoded
from tests.worker.adapters import inputs, loaded, parameters, predict
from tests.worker.tasks.batches import predict_together

TASK = "zero-shot-image-classification"
PICTURES = [vision.picture(seed, size) for seed, size in enumerate([(40, 30), (20, 60), (32, 32)])]
LABELS = ["a cat", "dog", "two small trees"]


@pytest.fixture(scope="module", params=[vision_text.clip, vision_text.siglip])
def snapshot(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    make: Callable[[Path], Path] = request.param
    return make(tmp_path_factory.mktemp("two-towers"))


@pytest.fixture(scope="module")
def adapter(snapshot: Path) -> Any:
    return loaded(snapshot, TASK)


def _one(at: int) -> Any:
    return inputs(TASK, image=encoded(PICTURES[at]))


def test_scores_are_those_of_the_pipeline(adapter: Any, snapshot: Path) -> None:
    classify = pipeline(TASK, model=str(snapshot), device="cpu")
    for how in ({}, {"hypothesis_template": "{}, or is it?"}):
        for at, picture in enumerate(PICTURES):
            found = predict(adapter, _one(at), parameters(TASK, candidate_labels=LABELS, **how))
            expected = classify(picture, candidate_labels=LABELS, **how)
            assert [one.label for one in found] == [one["label"] for one in expected]
            assert [one.score for one in found] == pytest.approx(
                [one["score"] for one in expected], abs=1e-4
            )


def test_company_changes_nothing(adapter: Any) -> None:
    how = parameters(TASK, candidate_labels=LABELS)
    together, calls = predict_together(adapter, [_one(at) for at in range(3)], how)
    assert calls == [3]
    for at, found in enumerate(together):
        alone = predict(adapter, _one(at), how)
        assert [one.label for one in found] == [one.label for one in alone]
        assert [one.score for one in found] == pytest.approx([one.score for one in alone], abs=1e-5)


def test_other_labels_are_another_call(adapter: Any) -> None:
    keys = {
        adapter.pre(_one(0), parameters(TASK, candidate_labels=labels))[0].key
        for labels in (LABELS, LABELS[::-1], LABELS[:1], LABELS)
    }
    assert len(keys) == 3


def test_a_template_is_no_program(adapter: Any) -> None:
    how = parameters(TASK, candidate_labels=["x"], hypothesis_template="{} {0.__class__} {")
    assert predict(adapter, _one(0), how)[0].label == "x"


def test_a_label_past_the_window_is_named(adapter: Any) -> None:
    how = parameters(TASK, candidate_labels=["cat", "x" * 70])
    if adapter.siglip:  # it was trained on texts that were cut
        assert len(predict(adapter, _one(0), how)) == 2
        return
    with pytest.raises(InputTooLong, match=r"candidate_labels\[1\]: .* 64 tokens"):
        adapter.pre(_one(0), how)
