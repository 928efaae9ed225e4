from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from msgspec import to_builtins
from transformers import pipeline

from modeldeploy.errors import InvalidRequest, PredictionFailed
from tests.models import vision
from tests.models.common import encoded
from tests.worker.adapters import inputs, loaded, parameters, predict
from tests.worker.tasks.batches import predict_together

TASK = "object-detection"
PICTURES = [vision.picture(seed, size) for seed, size in enumerate([(40, 30), (80, 60), (30, 40)])]


@pytest.fixture(scope="module", params=[vision.yolos, vision.detr], ids=["yolos", "detr"])
def snapshot(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    make: Callable[[Path], Path] = request.param
    return make(tmp_path_factory.mktemp("detector"))


@pytest.fixture(scope="module")
def adapter(snapshot: Path) -> Any:
    return loaded(snapshot, TASK)


@pytest.fixture(scope="module")
def detect(snapshot: Path) -> Any:
    return pipeline(TASK, model=str(snapshot), device="cpu")


def _same(found: list[Any], expected: list[dict[str, Any]]) -> None:
    assert [one.label for one in found] == [one["label"] for one in expected]
    assert [to_builtins(one.box) for one in found] == [one["box"] for one in expected]
    assert [one.score for one in found] == pytest.approx(
        [one["score"] for one in expected], abs=1e-4
    )


@pytest.mark.parametrize("threshold", [0.0, 0.38, 1.0])
def test_objects_are_those_of_the_pipeline(adapter: Any, detect: Any, threshold: float) -> None:
    for picture in (*PICTURES, PICTURES[0].convert("L")):
        one = inputs(TASK, image=encoded(picture))
        found = predict(adapter, one, parameters(TASK, threshold=threshold))
        expected = detect(picture.convert("RGB"), threshold=threshold)
        _same(found, expected)
    assert bool(found) == (threshold < 1)


def test_company_changes_nothing(adapter: Any) -> None:
    several = [inputs(TASK, image=encoded(picture)) for picture in PICTURES]
    how = parameters(TASK, threshold=0.0)
    together, calls = predict_together(adapter, several, how)
    assert len(calls) < len(several)
    for one, found in zip(several, together, strict=True):
        _same(found, to_builtins(predict(adapter, one, how)))


def test_what_is_no_number_is_no_answer(adapter: Any) -> None:
    one, how = inputs(TASK, image=encoded(PICTURES[0])), parameters(TASK)
    items = adapter.pre(one, how)
    items[0].data[0]["pixel_values"][:] = torch.nan
    with pytest.raises(PredictionFailed, match="not numbers"):
        adapter.post(adapter.core(items), one, how)


def test_what_the_processor_cannot_take_is_told(
    adapter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*images: Any, **how: Any) -> Any:
        raise ValueError("height 0")

    monkeypatch.setattr(adapter, "processor", refuse)
    with pytest.raises(InvalidRequest, match=r"^image: .*height 0"):
        adapter.pre(inputs(TASK, image=encoded(PICTURES[0])), parameters(TASK))
