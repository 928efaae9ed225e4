"""Texts share a call only where each gets what it gets alone; the fastest way of doing so is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AlbertConfig,
    AutoModelForTokenClassification,
    BertConfig,
    BertForSequenceClassification,
    ConvBertConfig,
    FNetConfig,
    ModernBertConfig,
    PreTrainedModel,
    Qwen3Config,
    RobertaConfig,
    XLMRobertaForTokenClassification,
)
from transformers import AutoModelForSequenceClassification as ForClasses

from modeldeploy.worker.compute import company, unpadded
from modeldeploy.worker.compute.unpadded import Unpadded
from modeldeploy.worker.tasks.tokens import plain
from tests.models import tiny
from tests.worker.adapters import inputs, loaded, parameters, predict

TEXTS = [
    "A",
    "Ada moved from Paris to London, where she lives with her sister.",
    "not bad at all",
    "ten",
]
_SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "initializer_range": 0.4,
    "pad_token_id": 0,
}


def _saved(folder: Path, model: PreTrainedModel) -> Path:
    tokenizer = tiny.word_piece()
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _config(kind: Any, **more: Any) -> Any:
    return kind(vocab_size=len(tiny.word_piece()), num_labels=3, **{**_SIZES, **more})


MODELS: dict[str, tuple[Callable[[], Any], str]] = {
    "bert": (lambda: BertForSequenceClassification(_config(BertConfig)), "unpadded"),
    "albert": (
        lambda: ForClasses.from_config(_config(AlbertConfig, embedding_size=16)),
        "unpadded",
    ),
    "roberta": (lambda: ForClasses.from_config(_config(RobertaConfig)), "unpadded"),
    "qwen3": (
        lambda: ForClasses.from_config(
            _config(Qwen3Config, num_key_value_heads=2, head_dim=16, pad_token_id=0)
        ),
        "unpadded",
    ),
    "modernbert": (
        lambda: ForClasses.from_config(_config(ModernBertConfig, local_attention=8)),
        "padded",
    ),
    "fnet": (lambda: ForClasses.from_config(_config(FNetConfig)), "equal"),
    "convbert": (
        lambda: ForClasses.from_config(_config(ConvBertConfig, embedding_size=32)),
        "equal",
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_in_company_a_text_gets_what_it_gets_alone(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    make, layout = MODELS[name]
    adapter: Any = loaded(_saved(tmp_path, make()), "text-classification")
    told = {
        "unpadded": (not adapter.batch.padded, False),
        "padded": (False, False),
        "equal": (False, True),
    }
    assert (not adapter.batch.padded, adapter.batch.equal) == told[layout]
    assert adapter.info().runs["batches"]
    how = parameters("text-classification", top_k=3)
    alone = [predict(adapter, inputs("text-classification", text=text), how) for text in TEXTS]
    items = [
        item
        for text in TEXTS
        for item in adapter.pre(inputs("text-classification", text=text), how)
    ]
    if adapter.batch.equal:
        assert len({item.size for item in items}) > 1
        return  # the batcher keeps them apart
    together = adapter.core(items)
    for raw, one in zip(together, alone, strict=True):
        found = adapter.post([raw], None, how)
        assert [label.label for label in found] == [label.label for label in one]
        assert np.allclose([x.score for x in found], [x.score for x in one], atol=1e-4)


def test_tokens_of_texts_in_one_row_are_told_apart(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = _config(RobertaConfig)
    model = XLMRobertaForTokenClassification.from_pretrained(
        _saved(tmp_path / "r", AutoModelForTokenClassification.from_config(config))
    )
    ids = torch.randint(20, config.vocab_size, (5, 30))
    mask = (torch.arange(30) < torch.tensor([[4], [30], [1], [17], [9]])).long()
    model.eval()
    with torch.inference_mode():
        expected = model(input_ids=ids * mask, attention_mask=mask).logits
        model.base_model.forward = Unpadded(model.base_model, 1, causal=False)
        found = model(input_ids=ids * mask, attention_mask=mask).logits
    there = mask.bool()
    assert torch.allclose(found[there], expected[there], atol=1e-5)
    unpadded.restore_padding(model.base_model)
    assert "forward" not in vars(model.base_model)


@pytest.mark.parametrize(
    ("lengths", "width", "shape"),
    [
        ([5, 3, 4], 8, (2, 8)),
        ([5, 3], 128, (1, 8)),
        ([20, 1], 8, (2, 20)),
        ([1], 8, (1, 1)),
        ([8, 8], 8, (2, 8)),
    ],
)
def test_rows_are_filled_first_fit(lengths: list[int], width: int, shape: tuple[int, int]) -> None:
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    layout = unpadded.lay(mask, lengths, unpadded.fill(lengths, width))
    assert tuple(layout.texts.shape) == shape
    flat = layout.texts.flatten()
    assert sorted(flat[flat >= 0].tolist()) == [
        at for at, n in enumerate(lengths) for _ in range(n)
    ]
    for text, length in enumerate(lengths):
        row = layout.positions[layout.texts == text]
        assert row.tolist() == list(range(length))


def test_texts_of_one_length_need_no_padding_and_no_attention_to_each_other() -> None:
    assert unpadded.cheapest([7] * 5, 1e-9) == [[0], [1], [2], [3], [4]]


@pytest.mark.parametrize(
    ("attention", "rows"),
    [
        (0.0, [[0, 3, 1, 2]]),  # free: nothing but padding counts
        (0.01, [[0, 2], [3, 1]]),
        (1.0, [[0], [3, 1], [2]]),  # so dear that three rows of 100 cost less than two of 125
    ],
)
def test_rows_are_as_wide_as_costs_least(attention: float, rows: list[list[int]]) -> None:
    assert unpadded.cheapest([100, 30, 25, 50], attention) == rows


def test_rows_that_were_given_a_width_have_it_and_all_others_their_own_length(
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    adapter: Any = loaded(_saved(tmp_path, MODELS["bert"][0]()), "text-classification")
    laid = adapter.holder
    shapes: list[tuple[int, ...]] = []
    forward = laid.forward

    def seen(**tensors: Any) -> Any:
        shapes.append(tuple(tensors["input_ids"].shape))
        return forward(**tensors)

    laid.forward, laid.always = seen, True
    given = {"input_ids": torch.full((4, 8), 20), "attention_mask": torch.ones(4, 8)}
    laid(**{name: tensor.long() for name, tensor in given.items()})
    with laid.rows_of(16):
        laid(**{name: tensor.long() for name, tensor in given.items()})
    assert shapes == [(4, 8), (2, 16)]


class _Louder(torch.nn.Module):
    """Makes more of a text in company."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden[:, 0] * len(hidden)


def test_whatever_else_the_encoder_gives_must_be_what_it_gives_alone_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = BertForSequenceClassification(_config(BertConfig)).eval()
    model.bert.pooler = _Louder()
    tokens = loaded(_saved(tmp_path, MODELS["bert"][0]()), "text-classification").tokens  # type: ignore[attr-defined]  # a text model's
    laid = Unpadded(model.bert, 0, causal=False)

    def pad(rows: Any) -> Any:
        return tokens.pad([plain(ids) for ids in rows])

    assert company.find(model.bert, pad, [laid]) == ("alone", None)
