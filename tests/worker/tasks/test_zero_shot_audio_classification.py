from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from transformers import pipeline

from modeldeploy.errors import InputTooLong, WrongTask
from modeldeploy.schema.tasks import TASKS, native_request
from modeldeploy.worker.adapter import Adapter
from tests.models import sounds
from tests.models.sounds import encoded, noise
from tests.models.tiny import question_answering
from tests.worker.adapters import inputs, loaded, parameters, predict

TASK = "zero-shot-audio-classification"
LABELS = ["a dog", "Ada lives in London", "count to ten"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sounds.clap(tmp_path_factory.mktemp("clap"))


@pytest.fixture(scope="module")
def adapter(folder: Path) -> Adapter[Any, Any]:
    return loaded(folder, TASK)


def compare(adapter: Adapter[Any, Any], samples: sounds.Samples, **how: Any) -> Any:
    asked = parameters(TASK, **{"candidate_labels": LABELS, **how})
    return predict(adapter, inputs(TASK, audio=encoded(samples)), asked)


@pytest.mark.parametrize("how", [{}, {"hypothesis_template": "hear: {}"}])
def test_labels_are_those_of_the_pipeline(
    folder: Path, adapter: Adapter[Any, Any], how: dict[str, Any]
) -> None:
    expected = pipeline(TASK, model=str(folder), device="cpu", dtype="float32")(
        noise(0.8).copy(), candidate_labels=LABELS, **how
    )
    found = compare(adapter, noise(0.8), **how)
    scores = {one["label"]: one["score"] for one in expected}
    assert {one.label: one.score for one in found} == pytest.approx(scores, abs=1e-4)
    assert found == sorted(found, key=lambda one: -one.score)


def test_a_batch_scores_as_its_items_alone(adapter: Adapter[Any, Any]) -> None:
    items = [
        adapter.pre(
            inputs(TASK, audio=encoded(noise(seconds, at))),
            parameters(TASK, candidate_labels=LABELS),
        )[0]
        for at, seconds in enumerate((0.4, 0.9, 1.7))
    ]
    assert len({item.key for item in items}) == 1
    for item, raw in zip(items, adapter.core(items), strict=True):
        assert raw == pytest.approx(adapter.core([item])[0], abs=1e-5)


def test_a_longer_sound_scores_the_same_each_time(adapter: Adapter[Any, Any]) -> None:
    assert compare(adapter, noise(2.5)) == compare(adapter, noise(2.5))


def test_braces_in_a_template_are_no_code(adapter: Adapter[Any, Any]) -> None:
    found = compare(adapter, noise(0.5), hypothesis_template="{0.__class__} {}")
    assert {one.label for one in found} == set(LABELS)


def test_a_label_that_is_too_long(adapter: Adapter[Any, Any]) -> None:
    with pytest.raises(InputTooLong, match="candidate_labels"):
        compare(adapter, noise(0.5), candidate_labels=["long " * 100])


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"candidate_labels": []}, "candidate_labels"),
        ({"candidate_labels": [""]}, "candidate_labels"),
        ({"hypothesis_template": "no place"}, "hypothesis_template"),
    ],
)
def test_wrong_parameters_are_named(wrong: dict[str, Any], word: str) -> None:
    task = TASKS[TASK]
    with pytest.raises(msgspec.ValidationError, match=word):
        msgspec.convert({**task.example, **wrong}, native_request(task))


def test_a_model_that_does_not_hear_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongTask):
        loaded(question_answering(tmp_path), TASK)
