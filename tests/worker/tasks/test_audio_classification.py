from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import pipeline

from modeldeploy.errors import InputTooLong, InvalidRequest, WrongTask
from modeldeploy.worker.adapter import Adapter
from tests.models import sounds
from tests.models.sounds import encoded, noise
from tests.worker.adapters import inputs, loaded, parameters, predict

TASK = "audio-classification"

MADE: dict[str, Callable[[Path], Path]] = {
    "layer": sounds.classifier,
    "group": lambda folder: sounds.classifier(folder, "group"),
    "spectrogram": sounds.spectrogram_classifier,
    "one label": lambda folder: sounds.classifier(folder, labels=1),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("sounds")
    return {name: make(root / name) for name, make in MADE.items()}


@pytest.fixture(scope="module")
def adapters(folders: dict[str, Path]) -> dict[str, Adapter[Any, Any]]:
    return {name: loaded(folder, TASK) for name, folder in folders.items()}


def classify(adapter: Adapter[Any, Any], samples: sounds.Samples, **how: Any) -> Any:
    return predict(adapter, inputs(TASK, audio=encoded(samples)), parameters(TASK, **how))


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("how", [{}, {"function_to_apply": "sigmoid", "top_k": 2}])
def test_labels_are_those_of_the_pipeline(
    folders: dict[str, Path],
    adapters: dict[str, Adapter[Any, Any]],
    kind: str,
    how: dict[str, Any],
) -> None:
    expected = pipeline(TASK, model=str(folders[kind]), device="cpu", dtype="float32")(
        noise(1.3).copy(), **how
    )
    found = classify(adapters[kind], noise(1.3), **how)
    assert [one.label for one in found] == [one["label"] for one in expected]
    scores = [one["score"] for one in expected]
    assert [one.score for one in found] == pytest.approx(scores, abs=1e-5)


@pytest.mark.parametrize(
    ("kind", "lengths"),
    [("layer", (0.5, 1.3, 0.9)), ("group", (0.7, 0.7)), ("spectrogram", (0.5, 1.3, 0.9))],
)
def test_a_batch_scores_as_its_items_alone(
    adapters: dict[str, Adapter[Any, Any]], kind: str, lengths: tuple[float, ...]
) -> None:
    adapter = adapters[kind]
    items = [
        adapter.pre(inputs(TASK, audio=encoded(noise(seconds, at))), parameters(TASK))[0]
        for at, seconds in enumerate(lengths)
    ]
    assert len({item.key for item in items}) == 1
    for item, raw in zip(items, adapter.core(items), strict=True):
        assert raw == pytest.approx(adapter.core([item])[0], abs=1e-5)


def test_too_short_and_too_long(adapters: dict[str, Adapter[Any, Any]]) -> None:
    with pytest.raises(InvalidRequest, match="the model needs"):
        classify(adapters["layer"], noise(0.01))
    with pytest.raises(InvalidRequest, match="feature extractor"):
        classify(adapters["spectrogram"], noise(0.001))
    with pytest.raises(InputTooLong, match="120 seconds"):
        classify(adapters["layer"], noise(121))


def test_a_recogniser_is_no_classifier(tmp_path: Path) -> None:
    with pytest.raises(WrongTask, match="Wav2Vec2ForCTC"):
        loaded(sounds.ctc(tmp_path), TASK)
