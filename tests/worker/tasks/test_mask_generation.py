from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import SamConfig, SamImageProcessorPil, SamModel, SamProcessor, pipeline

from modeldeploy.errors import InvalidRequest, PredictionFailed, UnsupportedModel
from modeldeploy.worker.tasks.mask_generation import MaskGeneration, distinct
from tests.models import vision
from tests.models.common import encoded
from tests.worker.adapters import inputs, loaded, parameters, predict, source
from tests.worker.tasks.batches import predict_together

TASK = "mask-generation"
PICTURES = [vision.picture(seed, size) for seed, size in enumerate([(80, 60), (60, 80), (64, 64)])]
GRID: dict[str, Any] = {
    "points_per_crop": 5,
    "pred_iou_thresh": 0.2,
    "stability_score_offset": 0.001,
}


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return vision.sam(tmp_path_factory.mktemp("sam"))


@pytest.fixture(scope="module")
def adapter(snapshot: Path) -> Any:
    return loaded(snapshot, TASK)


@pytest.fixture(scope="module")
def logits(adapter: Any) -> Any:
    """Of the masks of a grid."""
    return adapter.core(adapter.pre(_one(0), parameters(TASK, **GRID)))[0][1]


@pytest.fixture(scope="module")
def middle(logits: Any) -> float:
    """A threshold that half of the pixels are above."""
    return float(logits.median())


@pytest.fixture(scope="module")
def high(logits: Any) -> float:
    """A threshold that leaves small masks in different places."""
    return float(logits.flatten().quantile(0.995))


def _one(at: int) -> Any:
    return inputs(TASK, image=encoded(PICTURES[at]))


def _mask(found: Any) -> Any:
    return np.asarray(vision.decoded(found.mask)) > 0


def _overlap(one: Any, other: Any) -> float:
    low = np.maximum(one[:2], other[:2])
    high = np.minimum(one[2:], other[2:])
    shared = np.prod(np.clip(high - low, 0, None))
    areas = [np.prod(box[2:] - box[:2]) for box in (one, other)]
    return float(shared / (sum(areas) - shared)) if shared else 0.0


def _suppressed(masks: Any, scores: Any, boxes: Any, most: float) -> Any:
    """What transformers asks torchvision for, the slow way."""
    kept: list[int] = []
    for at in np.argsort(-scores.numpy(), kind="stable"):
        if all(_overlap(boxes[at].numpy(), boxes[one].numpy()) <= most for one in kept):
            kept.append(int(at))
    return [masks[at] for at in kept], scores[kept], [masks[at] for at in kept], boxes[kept]


@pytest.mark.parametrize("overlap", [1.0, 0.7])
def test_a_grid_finds_what_the_pipeline_finds(
    adapter: Any, snapshot: Path, high: float, overlap: float
) -> None:
    generate = pipeline(TASK, model=str(snapshot), device="cpu")
    generate.image_processor.post_process_for_mask_generation = _suppressed
    how = {**GRID, "mask_threshold": high, "crops_nms_thresh": overlap}
    for at, picture in enumerate(PICTURES):
        found = predict(adapter, _one(at), parameters(TASK, **how))
        expected = generate(picture, points_per_batch=7, output_bboxes_mask=True, **how)
        assert found
        assert [one.score for one in found] == pytest.approx(expected["scores"].tolist(), abs=1e-4)
        for ours, runs in zip(found, expected["masks"], strict=True):
            values = np.repeat(np.arange(len(runs["counts"])) % 2 == 1, runs["counts"])
            theirs = values.reshape(picture.width, picture.height).T
            assert np.mean(_mask(ours) != theirs) < 0.001  # a pixel on the threshold
    assert len(found) > 1
    assert len(predict(adapter, _one(0), parameters(TASK, **how, top_k=1))) == 1


def test_prompts_give_the_best_mask_that_transformers_gives(
    adapter: Any, snapshot: Path, middle: float
) -> None:
    processor = SamProcessor(SamImageProcessorPil.from_pretrained(snapshot))
    model = SamModel.from_pretrained(snapshot).eval()
    points = [[[10.0, 12.0], [40.0, 31.0]], [[70.0, 50.0], [3.0, 3.0]]]
    labels = [[1, 0], [1, 1]]
    boxes = [[0.0, 5.0, 30.0, 40.0], [50.0, 20.0, 80.0, 60.0]]
    asks: list[dict[str, Any]] = [
        {"input_points": points},
        {"input_points": points, "input_labels": labels},
        {"input_boxes": boxes},
        {"input_points": points, "input_labels": labels, "input_boxes": boxes},
    ]
    for ask in asks:
        found = predict(adapter, _one(0), parameters(TASK, **ask, mask_threshold=middle))
        given = processor(
            PICTURES[0], **{name: [value] for name, value in ask.items()}, return_tensors="pt"
        )
        given = {
            name: value.float() if value.is_floating_point() else value
            for name, value in given.items()
        }
        with torch.inference_mode():
            outputs = model(**given)
        masks = processor.image_processor.post_process_masks(
            outputs.pred_masks,
            given["original_sizes"],
            given["reshaped_input_sizes"],
            mask_threshold=middle,
        )[0]
        assert len(found) == 2
        for ours, theirs, scores in zip(found, masks, outputs.iou_scores[0], strict=True):
            assert ours.score == pytest.approx(scores.max().item(), abs=1e-4)
            assert np.mean(_mask(ours) != theirs[scores.argmax()].numpy()) < 0.001
            ys, xs = np.nonzero(_mask(ours))
            assert (ours.box.xmin, ours.box.ymax) == (xs.min(), ys.max())


def test_an_object_may_have_fewer_points_than_its_neighbour(adapter: Any) -> None:
    together = {"input_points": [[[10, 12]], [[70, 50], [3, 3]]], "input_labels": [[1], [1, 0]]}
    both = predict(adapter, _one(0), parameters(TASK, **together))
    alone = predict(
        adapter, _one(0), parameters(TASK, input_points=[[[70, 50], [3, 3]]], input_labels=[[1, 0]])
    )
    assert both[1].score == pytest.approx(alone[0].score, abs=1e-5)


@pytest.mark.parametrize("how", [GRID, {"input_points": [[[10, 12]], [[40, 31]]]}])
def test_company_changes_nothing(adapter: Any, middle: float, how: dict[str, Any]) -> None:
    asked = parameters(TASK, **how, mask_threshold=middle)
    together, calls = predict_together(adapter, [_one(at) for at in range(3)], asked)
    assert calls == [3]
    for at, found in enumerate(together):
        alone = predict(adapter, _one(at), asked)
        assert [one.score for one in found] == pytest.approx([one.score for one in alone], abs=1e-5)


def test_an_empty_mask_has_an_empty_box_and_nothing_found_is_no_error(adapter: Any) -> None:
    how = {"input_points": [[[1, 1]]], "mask_threshold": 100}
    found = predict(adapter, _one(0), parameters(TASK, **how))
    assert (found[0].box.xmin, found[0].box.ymax, _mask(found[0]).any()) == (0, 0, False)
    nothing = parameters(TASK, points_per_crop=1, pred_iou_thresh=1.0, stability_score_thresh=1.0)
    assert predict(adapter, _one(0), nothing) == []


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"input_points": [[[81, 1]]]}, "input_points: 81, 1 is outside"),
        ({"input_boxes": [[1, -1, 5, 5]]}, "input_boxes: 1, -1 is outside"),
        ({"input_boxes": [[9, 1, 5, 5]]}, "input_boxes: one ends before"),
        ({"input_points": [[[1, 1]]], "input_labels": [[1, 1]]}, "input_labels"),
        ({"input_labels": [[1]]}, "input_labels"),
        ({"input_points": [[[1, 1]]], "input_boxes": [[1, 1, 5, 5]] * 2}, "input_boxes: there are"),
    ],
)
def test_prompts_that_make_no_sense_are_named(adapter: Any, how: Any, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        adapter.pre(_one(0), parameters(TASK, **how))


def test_what_is_no_number_is_no_answer(adapter: Any) -> None:
    items = adapter.pre(_one(0), parameters(TASK, points_per_crop=2))
    items[0].data.pixels["pixel_values"][:] = torch.nan
    with pytest.raises(PredictionFailed, match="not numbers"):
        adapter.post(adapter.core(items), _one(0), parameters(TASK))


def test_boxes_that_touch_are_not_the_same() -> None:
    boxes = torch.tensor([[0, 0, 10, 10], [1, 0, 11, 10], [10, 0, 20, 10], [5, 5, 5, 5.0]])
    assert distinct(boxes, torch.tensor([0.8, 0.9, 0.1, 0.2]), 0.5) == [1, 3, 2]


def test_a_processor_that_needs_torchvision_is_refused(tmp_path: Path) -> None:
    SamConfig().save_pretrained(tmp_path)
    named = {"image_processor_type": "Sam2ImageProcessor"}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(named))
    with pytest.raises(UnsupportedModel, match="orchvision"):
        MaskGeneration().prepare(source(tmp_path, TASK))
