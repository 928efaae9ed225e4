"""Texts end to end in rows: what one of them comes to is nothing to the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification as ForClasses
from transformers import BertConfig, Qwen3Config

from modeldeploy.worker.compute import graphs
from tests.models import tiny
from tests.models.common import save
from tests.worker.adapters import inputs, loaded, parameters

TASK = "text-classification"
TEXTS = ["not bad at all", "This is terrible", "I love this product!", "ten"]
_SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}


def _adapter(folder: Path, kind: Any, **more: Any) -> Any:
    torch.manual_seed(0)
    tokenizer = tiny.word_piece()
    config = kind(vocab_size=len(tokenizer), num_labels=2, **_SIZES, **more)
    return loaded(save(folder, ForClasses.from_config(config), tokenizer), TASK)


def _items(adapter: Any, texts: list[str]) -> list[Any]:
    return [one for text in texts for one in adapter.pre(inputs(TASK, text=text), parameters(TASK))]


@pytest.mark.promise(
    17, fault="numbers that are none, in one of several texts that are read at once"
)
@pytest.mark.parametrize("always", [False, True], ids=["torch", "as for a graph"])
@pytest.mark.parametrize(
    ("kind", "more"), [(BertConfig, {}), (Qwen3Config, {"num_key_value_heads": 2, "head_dim": 16})]
)
def test_a_text_whose_numbers_are_none_fails_alone(
    tmp_path: Path, kind: Any, more: dict[str, Any], always: bool
) -> None:
    adapter = _adapter(tmp_path, kind, **more)
    assert adapter.layout.startswith("unpadded")
    adapter.holder.always = always
    (poison,) = tiny.word_piece()("terrible", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        adapter.model.get_input_embeddings().weight[poison] = float("nan")
    items = _items(adapter, TEXTS)
    alone = [torch.from_numpy(adapter.core([item])[0]) for item in items]
    together = [torch.from_numpy(one) for one in adapter.core(items)]
    assert [bool(one.isfinite().all()) for one in together] == [True, False, True, True]
    for one, other in zip(together, alone, strict=True):
        assert torch.allclose(one, other, atol=1e-5, equal_nan=True)


def test_texts_that_are_all_well_are_computed_once(tmp_path: Path) -> None:
    adapter = _adapter(tmp_path, BertConfig)
    calls: list[int] = []
    forward = adapter.holder.forward

    def counting(**given: Any) -> Any:
        calls.append(len(given["input_ids"]))
        return forward(**given)

    adapter.holder.forward = counting
    adapter.core(_items(adapter, TEXTS))
    assert len(calls) == 1


def test_a_lone_text_that_is_too_long_for_a_graph_has_no_mask_of_its_square(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "_MOST_WEIGHTS", 2 * 6**2 * 4)  # two heads, six tokens
    adapter = _adapter(tmp_path, BertConfig)
    adapter.holder.always = True
    masks: list[int] = []
    forward = adapter.holder.forward

    def seen(**given: Any) -> Any:
        masks.append(given["attention_mask"].dim())
        return forward(**given)

    adapter.holder.forward = seen
    for length in (6, 7):
        ids = torch.full((1, length), 20)
        adapter.holder(input_ids=ids, attention_mask=torch.ones_like(ids))
    assert masks == [4, 2]
