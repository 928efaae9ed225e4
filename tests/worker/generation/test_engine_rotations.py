"""Texts in which a model's rotations become others: read and written as ``generate`` does."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from modeldeploy.worker.generation.engine import Engine
from modeldeploy.worker.generation.rows import Piece
from tests.models import tiny
from tests.models.common import save
from tests.worker.adapters import loaded
from tests.worker.generation.test_engine import item, run, written

SWITCH = 100
WORDS = "Ada moved from Paris to London where she lives with her sister. " * 16


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Any:
    torch.manual_seed(0)
    tokens = tiny.byte_level()
    tokens.model_max_length = 400
    config = transformers.Phi3Config(
        vocab_size=len(tokens),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=400,
        original_max_position_embeddings=SWITCH,
        pad_token_id=0,
        bos_token_id=0,
        eos_token_id=0,
        sliding_window=None,
        rope_parameters={
            "rope_type": "longrope",
            "rope_theta": 10000.0,
            "original_max_position_embeddings": SWITCH,
            "short_factor": [1.0] * 8,
            "long_factor": [40.0] * 8,
        },
    )
    model = transformers.Phi3ForCausalLM(config)
    with torch.no_grad():  # so that places matter
        for layer in model.model.layers:
            layer.self_attn.qkv_proj.weight *= 8
            layer.self_attn.o_proj.weight *= 30
    folder: Path = save(tmp_path_factory.mktemp("m") / "phi3", model, tokens)
    return loaded(folder, "text-generation", optimize="no")


def of(adapter: Any, tokens: int, new: int, **how: Any) -> Any:
    one = item(adapter, WORDS, max_new_tokens=new, truncate=tokens, **how)
    assert len(one.data.ids) == tokens
    return one


def test_a_text_that_grows_past_the_switch_is_what_generate_writes(adapter: Any) -> None:
    async def story(engine: Engine) -> None:
        asked = [
            of(adapter, 30, 90),
            of(adapter, 30, 90, num_return_sequences=2, temperature=1.0, seed=1),
        ]
        found = [await written(engine, one) for one in asked]
        assert found == [adapter.core([one])[0] for one in asked]

    run(adapter, story)


def test_a_prompt_longer_than_the_switch_is_read_whole_whoever_writes(adapter: Any) -> None:
    async def story(engine: Engine) -> None:
        (expected,) = adapter.core([of(adapter, 140, 12)])
        pieces: list[Piece] = []
        writer = of(adapter, 20, 60)
        writer.sink = pieces.append
        writing = asyncio.ensure_future(written(engine, writer))
        while not pieces:
            await asyncio.sleep(0.001)
        assert await written(engine, of(adapter, 140, 12)) == expected
        assert await writing == adapter.core([of(adapter, 20, 60)])[0]

    run(adapter, story)


def test_nothing_that_was_read_past_the_switch_is_kept_or_used(adapter: Any) -> None:
    ids = of(adapter, 150, 4).data.ids

    def beginning(tokens: int, new: int) -> Any:
        text = adapter.tokens.tokenizer.decode(ids[:tokens])
        return item(adapter, text, max_new_tokens=new)

    async def story(engine: Engine) -> None:
        for tokens, new in [(150, 4), (60, 12), (140, 8)]:
            one = beginning(tokens, new)
            assert await written(engine, one) == adapter.core([one])[0], (tokens, new)

    run(adapter, story)


def test_who_left_is_written_for_no_longer(adapter: Any) -> None:
    async def story(engine: Engine) -> None:
        pieces: list[Piece] = []
        leaving = of(adapter, 60, 300)
        leaving.sink = pieces.append
        leaver = asyncio.ensure_future(engine.run([leaving]))
        while len(pieces) < 3:
            await asyncio.sleep(0.001)
        leaver.cancel()
        await written(engine, of(adapter, 20, 4))
        assert len(pieces) < 300

    run(adapter, story)
