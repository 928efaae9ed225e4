from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import pipeline

from modeldeploy.errors import InvalidRequest
from tests.models import vision
from tests.models.common import encoded
from tests.worker.adapters import inputs, loaded, parameters, predict
from tests.worker.tasks.batches import predict_together

TASK = "image-feature-extraction"
PICTURES = [vision.picture(seed, size) for seed, size in enumerate([(40, 30), (80, 60), (64, 64)])]


def _one(at: int) -> Any:
    return inputs(TASK, image=encoded(PICTURES[at]))


@pytest.mark.parametrize("make", [vision.vit, vision.resnet])
def test_features_are_those_of_the_pipeline(make: Any, tmp_path: Path) -> None:
    adapter = loaded(make(tmp_path), TASK)
    extract = pipeline(TASK, model=str(tmp_path), device="cpu")
    for how in ({}, {"pool": True}):
        together, calls = predict_together(
            adapter, [_one(at) for at in range(3)], parameters(TASK, **how)
        )
        assert max(calls) > 1
        for picture, found in zip(PICTURES, together, strict=True):
            assert np.asarray([found]) == pytest.approx(
                np.asarray(extract(picture, **how)), abs=1e-4
            )


def test_a_pooler_that_the_checkpoint_lacks_is_not_made_up(tmp_path: Path) -> None:
    adapter = loaded(vision.vit(tmp_path, pooler=False), TASK)
    assert np.asarray(predict(adapter, _one(0), parameters(TASK))).shape == (17, vision.WIDTH)
    with pytest.raises(InvalidRequest, match="pool: this model has no pooler"):
        adapter.pre(_one(0), parameters(TASK, pool=True))


def test_a_model_without_a_pooler_says_so(tmp_path: Path) -> None:
    adapter = loaded(vision.segformer(tmp_path), TASK)
    with pytest.raises(InvalidRequest, match="pool: this model has no pooler"):
        predict(adapter, _one(0), parameters(TASK, pool=True))
