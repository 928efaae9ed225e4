from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoImageProcessor,
    AutoModelForVideoClassification,
    VJEPA2Config,
)

from modeldeploy.errors import InvalidRequest, UnsupportedModel
from modeldeploy.worker.tasks.video_classification import VideoClassification, places
from tests.models import vision
from tests.models.common import encoded
from tests.worker.adapters import inputs, loaded, parameters, predict, source
from tests.worker.tasks.batches import predict_together

TASK = "video-classification"
CLIPS = [[vision.picture(10 * at + seed, (48, 40)) for seed in range(8)] for at in range(3)]


@pytest.fixture(scope="module", params=[vision.videomae, vision.vivit, vision.timesformer])
def snapshot(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    make: Callable[[Path], Path] = request.param
    return make(tmp_path_factory.mktemp("video"))


@pytest.fixture(scope="module")
def adapter(snapshot: Path) -> Any:
    return loaded(snapshot, TASK)


def _one(at: int, frames: int = 8) -> Any:
    return inputs(TASK, video=[vision.in_base64(frame) for frame in CLIPS[at][:frames]])


@pytest.mark.parametrize(
    ("how", "frames"),
    [
        ({}, [0, 2, 4, 6]),
        ({"frame_sampling_rate": 1}, [0, 1, 2, 3]),
        ({"num_frames": 4}, [0, 2, 4, 6]),
    ],
)
def test_scores_are_those_of_transformers_called_directly(
    adapter: Any, snapshot: Path, how: dict[str, Any], frames: list[int]
) -> None:
    """Its pipeline needs PyAV, which is not here; these are its steps after reading the frames."""
    processor = AutoImageProcessor.from_pretrained(snapshot)
    model = AutoModelForVideoClassification.from_pretrained(snapshot).eval()
    for at, clip in enumerate(CLIPS):
        with torch.inference_mode():
            given = processor([clip[one] for one in frames], return_tensors="pt")
            expected = model(**given).logits[0].softmax(-1).sort(descending=True)
        found = predict(adapter, _one(at), parameters(TASK, **how))
        assert [one.label for one in found] == [f"LABEL_{one}" for one in expected.indices]
        assert [one.score for one in found] == pytest.approx(expected.values.tolist(), abs=1e-4)


def test_company_changes_nothing(adapter: Any) -> None:
    together, calls = predict_together(
        adapter, [_one(at, 8 - at) for at in range(3)], parameters(TASK, top_k=2)
    )
    assert calls == [3]
    for at, found in enumerate(together):
        alone = predict(adapter, _one(at, 8 - at), parameters(TASK, top_k=2))
        assert [one.label for one in found] == [one.label for one in alone]
        assert [one.score for one in found] == pytest.approx([one.score for one in alone], abs=1e-5)


def test_a_gif_is_a_video(adapter: Any) -> None:
    clip = [frame.quantize(64) for frame in CLIPS[0]]
    gif = encoded(clip[0], "GIF", save_all=True, append_images=clip[1:])
    by_file = predict(adapter, inputs(TASK, video=gif), parameters(TASK))
    listed = [vision.in_base64(frame.convert("RGB")) for frame in clip]
    by_list = predict(adapter, inputs(TASK, video=listed), parameters(TASK))
    assert [one.score for one in by_file] == pytest.approx([one.score for one in by_list], abs=1e-3)


def test_the_number_of_frames_is_the_models_own_where_it_must_be(adapter: Any) -> None:
    asked = parameters(TASK, num_frames=6)
    if adapter.config.model_type == "timesformer":
        assert len(predict(adapter, _one(0), asked)) == 3
        return
    with pytest.raises(InvalidRequest, match="num_frames: this model takes 4 frames"):
        adapter.pre(_one(0), asked)


def test_frames_are_spread_repeated_or_taken_at_a_rate() -> None:
    assert places(16, 4, None) == [0, 4, 8, 12]
    assert places(3, 4, None) == [0, 0, 1, 2]
    assert places(16, 4, 1) == [0, 1, 2, 3]
    assert places(16, 4, 4) == [0, 5, 10, 15]
    with pytest.raises(InvalidRequest, match="has 15 frames, 4 at a rate of 4 need 16"):
        places(15, 4, 4)


def test_a_model_whose_processor_is_not_here_is_refused(tmp_path: Path) -> None:
    adapter = VideoClassification()
    adapter.config = VJEPA2Config()
    with pytest.raises(UnsupportedModel, match="torchvision"):
        adapter.prepare(source(tmp_path, TASK))
