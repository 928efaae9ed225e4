"""What is found out of a model before it is written with."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from modeldeploy.worker.generation.check import fitting_slab, reads_in_parts
from modeldeploy.worker.generation.rows import Piece
from tests.models import tiny
from tests.models.common import save
from tests.worker.adapters import inputs, loaded, parameters

TASK = "text-generation"
_LAYERS = {"vocab_size": 101, "hidden_size": 32, "num_hidden_layers": 2, "pad_token_id": 0}
_HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 64}
_MIXER = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_chunk_size": 8}
_EXPERTS = {"num_experts": 2, "num_experts_per_tok": 1}
_DELTA = {
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
    "layer_types": ["linear_attention", "full_attention"],
}
# Whether a later part of a prompt knows the tokens before it as the whole does.
MODELS: list[tuple[str, bool, dict[str, Any]]] = [
    ("Mamba", False, {"state_size": 8}),
    ("FalconMamba", False, {"state_size": 8}),
    (
        "Jamba",
        False,
        {
            **_HEADS,
            **_EXPERTS,
            "mamba_d_state": 8,
            "mamba_dt_rank": 4,
            "use_mamba_kernels": False,
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
        },
    ),
    ("Llama", True, _HEADS),
    (
        "Mamba2",
        True,
        {"state_size": 8, "num_heads": 8, "head_dim": 8, "n_groups": 1, "chunk_size": 8},
    ),
    ("Bamba", True, {**_HEADS, **_MIXER, "attn_layer_indices": [1]}),
    ("Lfm2", True, {**_HEADS, "full_attn_idxs": [1]}),
    ("Qwen3Next", True, {**_HEADS, **_EXPERTS, **_DELTA, "head_dim": 8}),
]


def _model(name: str, settings: dict[str, Any], **more: Any) -> Any:
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**{**_LAYERS, **settings, **more})
    return transformers.AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize(("name", "in_parts", "settings"), MODELS)
def test_prompts_are_read_in_parts_where_that_changes_nothing(
    name: str, in_parts: bool, settings: dict[str, Any]
) -> None:
    model = _model(name, settings)
    assert fitting_slab(model) is not None
    assert reads_in_parts(model) is in_parts


def test_a_prompt_is_what_it_is_alone_beside_a_stream(tmp_path: Path) -> None:
    tokenizer = tiny.byte_level()
    tokenizer.model_max_length = 4000
    model = _model("Mamba", {"state_size": 8}, vocab_size=len(tokenizer), eos_token_id=0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1 and "embed" not in name:
                weight.mul_(4)  # so that what came before matters
    adapter = loaded(save(tmp_path / "model", model, tokenizer), TASK)

    def item(text: str, **how: Any) -> Any:
        (one,) = adapter.pre(inputs(TASK, text=text), parameters(TASK, **how))
        return one

    def long() -> Any:
        return item("Ada lives in London with her sister. " * 9, max_new_tokens=10, truncate=66)

    async def story() -> None:
        engine = adapter.front(100, lambda rows: None)
        (alone,) = (await engine.run([long()])).raws
        pieces: list[Piece] = []
        other = item("Once", max_new_tokens=500)
        other.sink = pieces.append
        stream = asyncio.ensure_future(engine.run([other]))
        while not pieces:
            await asyncio.sleep(0.001)
        assert (await engine.run([long()])).raws == [alone]
        assert not stream.done()
        assert adapter.core([long()]) == [alone]
        stream.cancel()
        await asyncio.gather(stream, return_exceptions=True)
        engine.close()

    asyncio.run(asyncio.wait_for(story(), 60))
