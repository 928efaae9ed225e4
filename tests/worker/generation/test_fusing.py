"""What is traced as one operator is what it is taken for, and is as it was afterwards."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.models.cohere2 import modeling_cohere2
from transformers.models.gemma2 import modeling_gemma2
from transformers.models.llama import modeling_llama

from modeldeploy.schema.graph import Form
from modeldeploy.worker.generation import fusing, step_export
from tests.worker.generation.test_slab import random_model

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def _norm(kind: Any) -> Any:
    norm = kind(16, eps=1e-5)
    torch.nn.init.normal_(norm.weight)
    return norm


@torch.no_grad()
@pytest.mark.parametrize("kind", [modeling_llama.LlamaRMSNorm, modeling_gemma2.Gemma2RMSNorm])
def test_a_norm_is_known_by_what_it_gives(kind: Any) -> None:
    norm = _norm(kind)
    short = fusing._as_a_norm(norm)
    assert short is not None
    given = torch.randn(3, 16)
    assert torch.allclose(short(given), norm(given), atol=1e-5)


@pytest.mark.parametrize("kind", [torch.nn.LayerNorm, modeling_cohere2.Cohere2LayerNorm])
def test_another_norm_is_not_taken_for_one(kind: Any) -> None:
    assert fusing._as_a_norm(_norm(kind)) is None


def test_a_rotation_is_known_by_what_it_gives() -> None:
    assert fusing._rotates(modeling_llama.apply_rotary_pos_emb)
    assert not fusing._rotates(modeling_cohere2.apply_rotary_pos_emb)  # of every two neighbours
    assert not fusing._rotates(lambda q, k: (q, k))


def test_a_call_of_another_kind_is_the_models_own() -> None:
    def own(q: Any, k: Any, cos: Any, sin: Any, unsqueeze_dim: int = 1) -> tuple[str, int]:
        return "own", unsqueeze_dim

    q, k, cos = torch.zeros(1, 2, 3, 8), torch.zeros(1, 2, 3, 8), torch.zeros(1, 3, 8)
    assert fusing._rotated(own, q, k, cos, cos, unsqueeze_dim=2) == ("own", 2)
    assert fusing._rotated(own, q, k, cos[..., :4], cos[..., :4]) == ("own", 1)


@pytest.mark.slow
def test_a_graph_has_an_operator_for_each_norm_and_rotation(tmp_path: Path) -> None:
    model = random_model("Llama")
    norm, rotate = model.model.norm, modeling_llama.apply_rotary_pos_emb
    step_export.make(model, tmp_path, Form("onnx"), 1, [7, 3, 5])
    (file,) = tmp_path.glob("*.onnx")
    operators = Counter(
        node.op_type for node in onnx.load(file, load_external_data=False).graph.node
    )
    layers = model.config.num_hidden_layers
    assert operators["RotaryEmbedding"] == 2 * layers
    names = ("SimplifiedLayerNormalization", "SkipSimplifiedLayerNormalization")
    assert sum(operators[name] for name in names) == 2 * layers + 1
    assert not operators["Pow"]
    assert "forward" not in vars(norm)
    assert modeling_llama.apply_rotary_pos_emb is rotate
