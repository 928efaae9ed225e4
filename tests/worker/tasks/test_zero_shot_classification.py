from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import pipeline

from modeldeploy.errors import InputTooLong, InvalidRequest, WrongTask
from modeldeploy.worker.adapter import Adapter
from tests.models import tiny
from tests.worker.adapters import inputs, loaded, parameters, predict

TASK = "zero-shot-classification"
TEXT = "Ada moved from Paris to London."
LABELS = ["a city", "once upon a time", "terrible"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.entailer(tmp_path_factory.mktemp("m") / "nli")


@pytest.fixture(scope="module")
def adapter(folder: Path) -> Adapter[Any, Any]:
    return loaded(folder, TASK)


def judge(adapter: Adapter[Any, Any], text: str, labels: list[str], **how: Any) -> Any:
    asked = parameters(TASK, candidate_labels=labels, **how)
    return predict(adapter, inputs(TASK, text=text), asked)


@pytest.mark.parametrize("multi", [False, True])
@pytest.mark.parametrize("labels", [LABELS, LABELS[:1]])
def test_scores_are_those_of_the_pipeline(
    adapter: Adapter[Any, Any], folder: Path, multi: bool, labels: list[str]
) -> None:
    reference = pipeline(TASK, model=str(folder), device="cpu")
    template = "I love {}!"
    expected = reference(TEXT, labels, multi_label=multi, hypothesis_template=template)
    found = judge(adapter, TEXT, labels, multi_label=multi, hypothesis_template=template)
    assert [one.label for one in found] == expected["labels"]
    assert [one.score for one in found] == pytest.approx(expected["scores"], abs=1e-4)


def test_a_long_text_is_refused_or_cut_before_its_label(adapter: Adapter[Any, Any]) -> None:
    with pytest.raises(InputTooLong, match="window is 64"):
        judge(adapter, TEXT * 20, LABELS)
    asked = parameters(TASK, candidate_labels=LABELS[:1], truncate=True)
    (item,) = adapter.pre(inputs(TASK, text=TEXT * 20), asked)
    assert len(item.data) == 64
    decoded = adapter.tokens.tokenizer.decode(item.data.ids)  # type: ignore[attr-defined]  # an adapter on a model
    assert "city" in decoded.replace(" ##", "")


def test_nothing_to_judge_is_refused(adapter: Adapter[Any, Any]) -> None:
    with pytest.raises(InvalidRequest, match="text"):
        judge(adapter, "  ", LABELS)


def test_a_model_without_entailment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongTask, match="entails"):
        loaded(tiny.classifier(tmp_path / "m"), TASK)
