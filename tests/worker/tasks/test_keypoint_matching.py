from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from msgspec import to_builtins
from PIL import Image
from transformers import AutoImageProcessor, SuperGlueForKeypointMatching, pipeline

from modeldeploy.errors import InvalidRequest, UrlNotAllowed
from tests.models import vision
from tests.models.common import encoded
from tests.worker.adapters import inputs, loaded, parameters, predict
from tests.worker.tasks.batches import predict_together

TASK = "keypoint-matching"
PAIRS = [
    (vision.picture(0, (64, 64)), vision.picture(1, (64, 64))),
    (vision.picture(2, (96, 64)), vision.picture(3, (64, 96))),
    (vision.picture(4, (64, 64)), vision.picture(4, (64, 64))),
]


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return vision.superglue(tmp_path_factory.mktemp("superglue"))


@pytest.fixture(scope="module")
def adapter(snapshot: Path) -> Any:
    return loaded(snapshot, TASK)


def _one(pair: tuple[Image.Image, Image.Image]) -> Any:
    return inputs(TASK, image_0=encoded(pair[0]), image_1=vision.in_base64(pair[1]))


def _same(found: list[Any], expected: list[dict[str, Any]]) -> None:
    for ours, theirs in zip(to_builtins(found), expected, strict=True):
        assert ours == {**theirs, "score": pytest.approx(theirs["score"], abs=1e-4)}


def test_matches_are_those_of_the_pipeline(adapter: Any, snapshot: Path) -> None:
    match = pipeline(TASK, model=str(snapshot), device="cpu")
    for pair in (PAIRS[0], PAIRS[2]):
        for threshold in (0.0, 0.05):
            found = predict(adapter, _one(pair), parameters(TASK, threshold=threshold))
            _same(found, match(list(pair), threshold=threshold))
    assert predict(adapter, _one(PAIRS[0]), parameters(TASK))


def test_points_of_an_image_that_is_not_square_lie_in_it(adapter: Any, snapshot: Path) -> None:
    """The pipeline mixes up widths and heights there; its processor, asked rightly, does not."""
    processor = AutoImageProcessor.from_pretrained(snapshot)
    model = SuperGlueForKeypointMatching.from_pretrained(snapshot).eval()
    pair = list(PAIRS[1])
    with torch.inference_mode():
        outputs = model(**processor(pair, return_tensors="pt"))
    sizes = [[(image.height, image.width) for image in pair]]
    expected = processor.post_process_keypoint_matching(outputs, sizes)[0]
    found = predict(adapter, _one(PAIRS[1]), parameters(TASK))
    assert found
    assert {(one.keypoint_image_0.x, one.keypoint_image_0.y) for one in found} == {
        (x, y) for x, y in expected["keypoints0"].tolist()
    }


def test_company_changes_nothing(adapter: Any) -> None:
    together, calls = predict_together(adapter, [_one(pair) for pair in PAIRS], parameters(TASK))
    assert calls == [3]
    for pair, found in zip(PAIRS, together, strict=True):
        _same(found, to_builtins(predict(adapter, _one(pair), parameters(TASK))))


def test_which_of_the_two_is_no_image_is_told(adapter: Any) -> None:
    good = vision.in_base64(PAIRS[0][0])
    with pytest.raises(InvalidRequest) as refused:
        adapter.pre(inputs(TASK, image_0=good, image_1="aGVsbG8="), parameters(TASK))
    assert refused.value.message.startswith("image_1: it cannot be decoded")
    with pytest.raises(UrlNotAllowed) as refused:
        adapter.pre(inputs(TASK, image_0="http://a/b.png", image_1=good), parameters(TASK))
    assert refused.value.message.startswith("image_0: ")
