from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from modeldeploy.errors import InputTooLong
from modeldeploy.worker.adapter import Adapter
from tests.models import tiny
from tests.worker.adapters import inputs, loaded, parameters, predict

TASK = "text-classification"
TEXTS = ["I love this product!", "terrible", "not bad at all, this model can count to ten", ""]


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.classifier(tmp_path_factory.mktemp("classifier"))


@pytest.fixture(scope="module")
def adapter(snapshot: Path) -> Adapter[Any, Any]:
    return loaded(snapshot, TASK)


def test_scores_are_those_of_transformers_called_directly(
    adapter: Adapter[Any, Any], snapshot: Path
) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(snapshot).eval()
    tokenizer = AutoTokenizer.from_pretrained(snapshot)
    for text in TEXTS:
        with torch.inference_mode():
            logits = model(**tokenizer(text, return_tensors="pt")).logits[0]
        expected = logits.softmax(-1)
        found = predict(adapter, inputs(TASK, text=text), parameters(TASK, top_k=2))
        assert {one.label: one.score for one in found} == pytest.approx(
            {"BAD": expected[0].item(), "GOOD": expected[1].item()}, abs=1e-6
        )
        assert found[0].score >= found[1].score


def test_a_batch_scores_as_its_items_alone(adapter: Adapter[Any, Any]) -> None:
    how = parameters(TASK)
    items = [item for text in TEXTS for item in adapter.pre(inputs(TASK, text=text), how)]
    together = adapter.core(items)
    for item, raw in zip(items, together, strict=True):
        assert raw == pytest.approx(adapter.core([item])[0], abs=1e-5)


@pytest.mark.parametrize("function", ["softmax", "sigmoid", "none"])
def test_the_function_asked_for_is_applied(adapter: Adapter[Any, Any], function: str) -> None:
    one = inputs(TASK, text=TEXTS[0])
    raw = torch.tensor(adapter.core(adapter.pre(one, parameters(TASK)))[0])
    expected = {"softmax": raw.softmax(-1), "sigmoid": raw.sigmoid(), "none": raw}[function]
    found = predict(adapter, one, parameters(TASK, top_k=2, function_to_apply=function))
    assert sorted(label.score for label in found) == pytest.approx(sorted(expected.tolist()))


def test_a_text_past_the_window_is_refused_or_cut_when_asked(
    adapter: Adapter[Any, Any], snapshot: Path
) -> None:
    long = inputs(TASK, text="love this " * 60)
    with pytest.raises(InputTooLong, match=r"122 tokens.* 64 tokens"):
        adapter.pre(long, parameters(TASK))
    cut = adapter.pre(long, parameters(TASK, truncate=True))[0]
    tokenizer = AutoTokenizer.from_pretrained(snapshot)
    assert cut.data.ids == tokenizer(long.text, truncation=True, max_length=64)["input_ids"]
    with pytest.raises(InputTooLong, match="200000 characters"):
        adapter.pre(inputs(TASK, text="a" * 200_000), parameters(TASK))


def test_it_tells_of_its_model(adapter: Adapter[Any, Any]) -> None:
    info = adapter.info()
    assert (info.device, info.dtype, info.max_input_length) == ("cpu", "float32", 64)
    assert info.parameters > 10_000
