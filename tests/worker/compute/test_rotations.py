"""Models whose rotations a long text changes for all that share its call."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from modeldeploy.worker.compute import rotations
from modeldeploy.worker.generation.engine import Engine
from tests.models import tiny
from tests.worker.adapters import loaded
from tests.worker.generation.test_engine import item, written

LONG = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "original_max_position_embeddings": 24,
    "short_factor": [1.0] * 8,
    "long_factor": [40.0] * 8,
}
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0}


@pytest.mark.parametrize(
    ("parameters", "longest"),
    [(LONG, 24), (DYNAMIC, 64), ({"rope_type": "default", "rope_theta": 10000.0}, None)],
)
def test_how_long_a_text_may_be_that_changes_nothing_for_others(
    parameters: dict[str, Any], longest: int | None
) -> None:
    config = transformers.LlamaConfig(
        vocab_size=32,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
        rope_parameters=parameters,
    )
    assert rotations.longest(transformers.LlamaModel(config)) == longest


def test_one_kind_for_each_kind_of_layer_is_seen() -> None:
    module = torch.nn.Linear(1, 1)
    module.rope_type = {"full_attention": "longrope", "sliding_attention": "default"}  # type: ignore[assignment]
    assert rotations.changes(module)


def test_a_short_text_is_what_it_is_alone_whoever_else_is_long(tmp_path: Path) -> None:
    folder = tiny.llama(tmp_path / "model")
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "rope_parameters": LONG}))
    adapter: Any = loaded(folder, "text-generation", optimize="no")
    with torch.no_grad():
        for layer in adapter.model.model.layers:  # positions must weigh in what is written
            layer.self_attn.q_proj.weight *= 30
            layer.self_attn.o_proj.weight *= 30

    async def tell() -> None:
        engine = adapter.front(10, lambda rows: None)
        assert isinstance(engine, Engine)
        short = item(adapter, "I am", max_new_tokens=16)
        long = item(adapter, "Where does Ada live, and what can the model do?", max_new_tokens=30)
        assert len(short.data.ids) + 16 <= 24 < len(long.data.ids) + 30
        try:
            alone = [await written(engine, one) for one in (short, long)]
            together = await asyncio.gather(
                *(written(engine, one) for one in (short, long, short, long, short))
            )
        finally:
            engine.close()
        assert together == [alone[0], alone[1], alone[0], alone[1], alone[0]]

    asyncio.run(asyncio.wait_for(tell(), 60))
