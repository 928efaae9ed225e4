from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from transformers import Mask2FormerConfig, OneFormerConfig, pipeline

from modeldeploy.errors import InputTooLong, InvalidRequest, UnsupportedModel
from modeldeploy.worker.tasks.image_segmentation import ImageSegmentation
from tests.models import vision
from tests.models.common import encoded
from tests.worker.adapters import inputs, loaded, parameters, predict, source
from tests.worker.tasks.batches import predict_together

TASK = "image-segmentation"
PICTURES = [vision.picture(seed, size) for seed, size in enumerate([(40, 30), (40, 30), (30, 40)])]


def _detr(folder: Path) -> Path:
    return vision.detr(folder, masks=True)


_MODELS: dict[str, Callable[[Path], Path]] = {
    "detr": _detr,
    "segformer": vision.segformer,
    "mask2former": vision.mask2former,
}


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: make(tmp_path_factory.mktemp(name)) for name, make in _MODELS.items()}


@pytest.fixture(scope="module")
def adapters(snapshots: dict[str, Path]) -> dict[str, Any]:
    return {name: loaded(snapshot, TASK) for name, snapshot in snapshots.items()}


@pytest.fixture(scope="module")
def pipelines(snapshots: dict[str, Path]) -> dict[str, Any]:
    return {
        name: pipeline(TASK, model=str(snapshot), device="cpu")
        for name, snapshot in snapshots.items()
    }


def _one(picture: Image.Image) -> Any:
    return inputs(TASK, image=encoded(picture))


@pytest.mark.parametrize(
    ("model", "how"),
    [
        ("detr", {"threshold": 0.3}),
        ("detr", {"threshold": 0.3, "subtask": "instance"}),
        ("detr", {"subtask": "semantic"}),
        ("segformer", {}),
        ("segformer", {"subtask": "semantic"}),
        ("mask2former", {"threshold": 0.3}),
        ("mask2former", {"threshold": 0.3, "mask_threshold": 0.3}),
        ("mask2former", {"threshold": 0.3, "overlap_mask_area_threshold": 0.99}),
        ("mask2former", {"threshold": 0.0, "subtask": "instance"}),
        ("mask2former", {"subtask": "semantic"}),
    ],
)
def test_segments_are_those_of_the_pipeline(
    adapters: dict[str, Any], pipelines: dict[str, Any], model: str, how: dict[str, Any]
) -> None:
    for picture in PICTURES[1:]:
        found = predict(adapters[model], _one(picture), parameters(TASK, **how))
        expected = pipelines[model](picture, **how)
        assert [one.label for one in found] == [one["label"] for one in expected]
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.score == pytest.approx(theirs["score"], abs=1e-4)
            mask = vision.decoded(ours.mask)
            assert (mask.mode, mask.size) == ("L", picture.size)
            assert np.array_equal(np.asarray(mask), np.asarray(theirs["mask"]))
    assert found or "overlap_mask_area_threshold" in how


@pytest.mark.parametrize("model", _MODELS)
def test_company_changes_nothing(adapters: dict[str, Any], model: str) -> None:
    how = parameters(TASK, threshold=0.3)
    together, calls = predict_together(adapters[model], [_one(each) for each in PICTURES], how)
    assert calls == ([1, 2] if model == "detr" else [3])
    for picture, found in zip(PICTURES, together, strict=True):
        alone = predict(adapters[model], _one(picture), how)
        assert [(one.label, one.mask) for one in found] == [(one.label, one.mask) for one in alone]


def test_a_subtask_that_the_model_cannot_do_is_named(adapters: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match=r"subtask: .* panoptic") as refused:
        adapters["segformer"].pre(_one(PICTURES[0]), parameters(TASK, subtask="panoptic"))
    assert refused.value.hint == "it does: semantic"


def test_masks_that_would_not_fit_into_memory_are_refused(adapters: dict[str, Any]) -> None:
    large = Image.new("1", (7000, 7000))
    adapter = adapters["mask2former"]
    adapter.planes = 100
    with pytest.raises(InputTooLong, match=r"7000 x 7000 .* 100 masks"):
        adapter.pre(_one(large), parameters(TASK))


def test_a_model_whose_processor_is_not_here_is_refused(tmp_path: Path) -> None:
    snapshot = vision.mask2former(tmp_path)
    adapter = ImageSegmentation()
    adapter.config = OneFormerConfig(backbone_config=Mask2FormerConfig().backbone_config)
    with pytest.raises(UnsupportedModel, match="torchvision"):
        adapter.prepare(source(snapshot, TASK))
