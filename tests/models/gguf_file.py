"""A tiny Llama in one GGUF file, seeded, its matrices quantised to eight bits."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np

from tests.models.tiny import byte_level

_WIDTH, _HEADS, _FEED, _LAYERS = 32, 2, 64, 2


def llama(file: Path) -> Path:
    """Write it to ``file``; its window is 64 tokens."""
    raw = json.loads(byte_level().backend_tokenizer.to_str())["model"]
    words = sorted(raw["vocab"], key=raw["vocab"].__getitem__)
    file.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(str(file), "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(_LAYERS)
    writer.add_feed_forward_length(_FEED)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(_WIDTH // _HEADS)
    writer.add_vocab_size(len(words))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(words)
    writer.add_token_types([gguf.TokenType.CONTROL, *[gguf.TokenType.NORMAL] * (len(words) - 1)])
    writer.add_token_merges([" ".join(pair) for pair in raw["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    _add_tensors(writer, len(words))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _add_tensors(writer: gguf.GGUFWriter, words: int) -> None:
    rng = np.random.default_rng(0)

    def matrix(name: str, rows: int, columns: int) -> None:
        values = rng.standard_normal((rows, columns)).astype(np.float32) * 0.2
        kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(f"{name}.weight", gguf.quants.quantize(values, kind), raw_dtype=kind)

    def norm(name: str) -> None:
        writer.add_tensor(f"{name}.weight", np.ones(_WIDTH, np.float32))

    matrix("token_embd", words, _WIDTH)
    matrix("output", words, _WIDTH)
    norm("output_norm")
    for layer in range(_LAYERS):
        block = f"blk.{layer}"
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            matrix(f"{block}.{name}", _WIDTH, _WIDTH)
        matrix(f"{block}.ffn_gate", _FEED, _WIDTH)
        matrix(f"{block}.ffn_up", _FEED, _WIDTH)
        matrix(f"{block}.ffn_down", _WIDTH, _FEED)
        norm(f"{block}.attn_norm")
        norm(f"{block}.ffn_norm")
