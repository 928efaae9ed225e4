from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import CrossEncoder

from modeldeploy.errors import InputTooLong, WrongTask
from tests.models import tiny
from tests.worker.adapters import inputs, loaded, parameters, predict

TASK = "text-ranking"
QUERY = "Where does Ada live?"
TEXTS = ["Once upon a time", "Ada moved from Paris to London, where she lives", "not bad"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.cross_encoder(tmp_path_factory.mktemp("m") / "cross")


def rank(folder: Path, **how: Any) -> Any:
    asked = inputs(TASK, query=QUERY, texts=TEXTS)
    return predict(loaded(folder, TASK), asked, parameters(TASK, **how))


def test_scores_are_those_of_the_cross_encoder(folder: Path) -> None:
    original = CrossEncoder(str(folder), device="cpu")
    expected = original.predict([(QUERY, text) for text in TEXTS])
    found = rank(folder)
    assert [one.index for one in found] == np.argsort(-expected).tolist()
    assert [one.score for one in found] == pytest.approx(sorted(expected, reverse=True), abs=1e-4)
    assert all(one.text is None for one in found)


def test_raw_scores_texts_and_the_best_alone(folder: Path) -> None:
    raw, plain = rank(folder, raw_scores=True), rank(folder)
    squeezed = [1 / (1 + np.exp(-one.score)) for one in raw]
    assert squeezed == pytest.approx([one.score for one in plain], abs=1e-5)
    (best,) = rank(folder, top_k=1, return_text=True)
    assert best.text == TEXTS[best.index]


def test_a_long_text_is_refused_or_cut(folder: Path) -> None:
    adapter = loaded(folder, TASK)
    long = inputs(TASK, query=QUERY, texts=["Ada lives " * 60])
    with pytest.raises(InputTooLong, match="window is 64"):
        adapter.pre(long, parameters(TASK))
    (item,) = adapter.pre(long, parameters(TASK, truncate=True))
    assert len(item.data) == 64
    assert item.data.ids[-1] == adapter.tokens.tokenizer.sep_token_id  # type: ignore[attr-defined]  # an adapter on a model


def test_a_classifier_does_not_rank(tmp_path: Path) -> None:
    with pytest.raises(WrongTask, match="2 labels"):
        loaded(tiny.classifier(tmp_path / "m"), TASK)
