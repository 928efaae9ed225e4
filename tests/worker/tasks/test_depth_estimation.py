from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import ZoeDepthConfig, pipeline

from modeldeploy.errors import PredictionFailed, UnsupportedModel
from modeldeploy.worker.tasks.depth_estimation import DepthEstimation
from tests.models import vision
from tests.models.common import encoded
from tests.worker.adapters import inputs, loaded, parameters, predict, source
from tests.worker.tasks.batches import predict_together

TASK = "depth-estimation"
PICTURES = [vision.picture(seed, size) for seed, size in enumerate([(40, 30), (80, 60), (64, 64)])]


@pytest.fixture(scope="module", params=[vision.depth_anything, vision.glpn])
def snapshot(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    make: Callable[[Path], Path] = request.param
    return make(tmp_path_factory.mktemp("depth"))


@pytest.fixture(scope="module")
def adapter(snapshot: Path) -> Any:
    return loaded(snapshot, TASK)


def _one(at: int) -> Any:
    return inputs(TASK, image=encoded(PICTURES[at]))


def test_depths_are_those_of_the_pipeline(adapter: Any, snapshot: Path) -> None:
    estimate = pipeline(TASK, model=str(snapshot), device="cpu")
    for at, picture in enumerate(PICTURES[1:], 1):  # glpn makes nothing of less than 32 pixels
        found = predict(adapter, _one(at), parameters(TASK, return_predicted_depth=True))
        expected = estimate(picture)
        assert np.asarray(found.predicted_depth) == pytest.approx(
            expected["predicted_depth"].numpy(), abs=1e-4
        )
        shown = vision.decoded(found.depth)
        assert shown.size == picture.size
        assert np.array_equal(np.asarray(shown), np.asarray(expected["depth"]))
        assert len(np.unique(np.asarray(shown))) > 2


def test_company_changes_nothing(adapter: Any) -> None:
    how = parameters(TASK)
    together, calls = predict_together(adapter, [_one(at) for at in (1, 1, 2)], how)
    assert max(calls) > 1
    for at, found in zip((1, 1, 2), together, strict=True):
        alone = predict(adapter, _one(at), how)
        ours, theirs = (np.asarray(vision.decoded(one.depth), int) for one in (found, alone))
        assert np.abs(ours - theirs).max() <= 1  # a rounded shade of grey
        assert found.predicted_depth is None


def test_a_flat_world_is_black_and_no_number_is_no_answer(adapter: Any) -> None:
    ((row, size),) = adapter.core(adapter.pre(_one(1), parameters(TASK)))
    row["predicted_depth"] = torch.full_like(row["predicted_depth"], 0)
    flat = adapter.post([(row, size)], _one(1), parameters(TASK, return_predicted_depth=True))
    assert np.asarray(vision.decoded(flat.depth)).max() == 0
    assert flat.predicted_depth[0][0] == 0
    row["predicted_depth"] = torch.full_like(row["predicted_depth"], torch.nan)
    with pytest.raises(PredictionFailed, match="not numbers"):
        adapter.post([(row, size)], _one(1), parameters(TASK))


def test_a_model_whose_processor_is_not_here_is_refused(tmp_path: Path) -> None:
    adapter = DepthEstimation()
    adapter.config = ZoeDepthConfig()
    with pytest.raises(UnsupportedModel, match="torchvision"):
        adapter.prepare(source(tmp_path, TASK))
