from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import pipeline

from modeldeploy.errors import InputTooLong, InvalidRequest
from modeldeploy.worker.adapter import Adapter
from tests.models import tiny
from tests.worker.adapters import inputs, loaded, parameters, predict

TASK = "token-classification"
TEXTS = [
    "Ada moved from Paris to London, where she lives.",
    "Once!",
    "unknownword Zürich ¤ Ada-Paris",
    "",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.tagger(tmp_path_factory.mktemp("m") / "tagger")


@pytest.fixture(scope="module")
def adapter(folder: Path) -> Adapter[Any, Any]:
    return loaded(folder, TASK)


def tag(adapter: Adapter[Any, Any], text: str, **how: Any) -> list[Any]:
    found: list[Any] = predict(adapter, inputs(TASK, text=text), parameters(TASK, **how))
    return found


def _same(found: list[Any], expected: list[dict[str, Any]]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        for name, value in other.items():
            mine = getattr(one, name)
            assert mine == (pytest.approx(value, abs=1e-4) if name == "score" else value), name


@pytest.mark.parametrize("how", ["none", "simple", "first", "average", "max"])
def test_entities_are_those_of_the_pipeline(
    adapter: Adapter[Any, Any], folder: Path, how: str
) -> None:
    reference = pipeline(TASK, model=str(folder), device="cpu", aggregation_strategy=how)
    for text in TEXTS[:3]:
        _same(tag(adapter, text, aggregation_strategy=how), reference(text))
        everything = reference(text, ignore_labels=[])
        _same(tag(adapter, text, aggregation_strategy=how, ignore_labels=[]), everything)


def test_company_changes_nothing(adapter: Adapter[Any, Any]) -> None:
    how = parameters(TASK)
    items = [adapter.pre(inputs(TASK, text=text), how)[0] for text in TEXTS]
    for raw, text in zip(adapter.core(items), TEXTS, strict=True):
        alone, together = tag(adapter, text), adapter.post([raw], inputs(TASK, text=text), how)
        assert [one.word for one in alone] == [one.word for one in together]


def test_a_long_text_is_refused_or_read_in_windows(
    adapter: Adapter[Any, Any], folder: Path
) -> None:
    long = " ".join(TEXTS[0] for _ in range(12))
    with pytest.raises(InputTooLong, match="window is 64"):
        tag(adapter, long)
    reference = pipeline(
        TASK, model=str(folder), device="cpu", aggregation_strategy="first", stride=10
    )
    _same(tag(adapter, long, aggregation_strategy="first", stride=10), reference(long))
    with pytest.raises(InvalidRequest, match="stride"):
        tag(adapter, long, stride=64)
