from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import pipeline

from modeldeploy.errors import InputTooLong, InvalidRequest
from modeldeploy.worker.adapter import Adapter
from tests.models import tiny
from tests.worker.adapters import inputs, loaded, parameters, predict

TASK = "fill-mask"
ONE = "Ada moved from [MASK] to London."
TWO = "[MASK] moved from Paris to [MASK]."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.gap_filler(tmp_path_factory.mktemp("m") / "gaps")


@pytest.fixture(scope="module")
def adapter(folder: Path) -> Adapter[Any, Any]:
    return loaded(folder, TASK)


def fill(adapter: Adapter[Any, Any], text: str, **how: Any) -> Any:
    return predict(adapter, inputs(TASK, text=text), parameters(TASK, **how))


def _same(found: list[Any], expected: list[dict[str, Any]]) -> None:
    assert [(one.token, one.token_str, one.sequence) for one in found] == [
        (one["token"], one["token_str"], one["sequence"]) for one in expected
    ]
    assert [one.score for one in found] == pytest.approx([o["score"] for o in expected], abs=1e-5)


def test_tokens_are_those_of_the_pipeline(adapter: Adapter[Any, Any], folder: Path) -> None:
    reference = pipeline(TASK, model=str(folder), device="cpu")
    _same(fill(adapter, ONE, top_k=7), reference(ONE, top_k=7))
    for mine, other in zip(fill(adapter, TWO), reference(TWO), strict=True):
        _same(mine, other)
    targets = ["Paris", "London", "Ada"]
    _same(fill(adapter, ONE, targets=targets), reference(ONE, targets=targets))


def test_company_and_the_other_name_of_a_gap_change_nothing(adapter: Adapter[Any, Any]) -> None:
    texts = [ONE, "[MASK]", ONE.replace("[MASK]", "<mask>") + " " + ONE]
    items = [adapter.pre(inputs(TASK, text=text), parameters(TASK))[0] for text in texts]
    for raw, text in zip(adapter.core(items), texts, strict=True):
        together = adapter.post([raw], inputs(TASK, text=text), parameters(TASK))
        alone = fill(adapter, text)
        pairs = zip(together, alone, strict=True)
        assert all(str(one)[:30] == str(other)[:30] for one, other in pairs)
    assert fill(adapter, ONE.replace("[MASK]", "<mask>")) == fill(adapter, ONE)


def test_what_cannot_be_filled_is_refused(adapter: Adapter[Any, Any]) -> None:
    with pytest.raises(InvalidRequest, match=r"no \[MASK\]"):
        fill(adapter, "nothing is missing")
    with pytest.raises(InputTooLong):
        fill(adapter, ONE * 20)
    with pytest.raises(InvalidRequest, match="targets"):
        fill(adapter, ONE, targets=[" "])
