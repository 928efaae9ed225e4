"""Tiny LoRA adapters, seeded, of the tiny models: they change what those say."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, TaskType, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
)

_BASE = "base_model_name_or_path"


def generator(folder: Path, base: Path, base_id: str) -> Path:
    """An adapter of a GPT-2, saved as if its base model were ``base_id``."""
    return _save(folder, AutoModelForCausalLM.from_pretrained(base), base_id, TaskType.CAUSAL_LM)


def classifier(folder: Path, base: Path, base_id: str, labels: int = 3) -> Path:
    """An adapter of a GPT-2 that brings a head of its own."""
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=labels)
    model.config.pad_token_id = 0
    return _save(folder, model, base_id, TaskType.SEQ_CLS)


def _save(folder: Path, model: Any, base_id: str, kind: TaskType) -> Path:
    torch.manual_seed(1)
    config = LoraConfig(
        task_type=kind,
        r=4,
        target_modules=["c_attn"],
        fan_in_fan_out=True,  # a GPT-2 keeps its matrices the other way round
        init_lora_weights=False,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft's use of transformers
        adapted = get_peft_model(model, config)
    adapted.save_pretrained(folder, save_embedding_layers=False)
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), _BASE: base_id}))
    return folder
