"""A tiny Tapas, made without pandas: only reading a table takes it."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import TapasConfig, TapasForQuestionAnswering

from tests.models.tiny import word_piece


def tapas(folder: Path, *, aggregates: bool = True) -> Path:
    """Of 64 positions; with ``aggregates`` it says what to do with the cells too."""
    torch.manual_seed(0)
    vocabulary = word_piece().get_vocab()
    words = [*sorted(vocabulary, key=vocabulary.__getitem__), "[EMPTY]"]
    config = TapasConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.5,
        num_aggregation_labels=3 if aggregates else 0,
        aggregation_labels={0: "NONE", 1: "SUM", 2: "COUNT"} if aggregates else None,
        no_aggregation_label_index=0 if aggregates else None,
    )
    model = TapasForQuestionAnswering(config).eval()
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    settings = {"tokenizer_class": "TapasTokenizer", "model_max_length": 64, "do_lower_case": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder
