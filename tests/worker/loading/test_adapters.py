"""Adapters (PEFT) on their base model: served as peft itself computes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from modeldeploy.errors import ModelError, UnsafeWeights, UnsupportedModel, WrongTask
from tests.models import peft_adapters, tiny
from tests.worker.adapters import inputs, loaded, parameters, predict

# peft's own use of transformers.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")

TEXT = "Once upon a time"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.gpt2(tmp_path_factory.mktemp("base"))


@pytest.fixture
def adapter(tmp_path: Path, base: Path) -> Path:
    return peft_adapters.generator(tmp_path / "adapter", base, "org/base")


def written(folder: Path, **more: Any) -> str:
    how = parameters("text-generation", max_new_tokens=8)
    served = loaded(folder, "text-generation", **more)
    found: str = predict(served, inputs("text-generation", text=TEXT), how)[0].generated_text
    return found


def test_it_generates_what_peft_generates(base: Path, adapter: Path) -> None:
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter)
    tokenizer = AutoTokenizer.from_pretrained(base)
    prompt = tokenizer(TEXT, return_tensors="pt")
    ids = model.generate(**prompt, max_new_tokens=8, do_sample=False, pad_token_id=0)[0]
    expected = tokenizer.decode(ids, skip_special_tokens=True)
    found = written(adapter, companion=str(base))
    assert found == expected
    assert found != written(base)


def test_an_adapter_brings_its_own_head(base: Path, tmp_path: Path) -> None:
    folder = peft_adapters.classifier(tmp_path, base, "org/base", labels=4)
    model = PeftModel.from_pretrained(
        AutoModelForSequenceClassification.from_pretrained(base, num_labels=4), folder
    ).eval()
    prompt = AutoTokenizer.from_pretrained(base)(TEXT, return_tensors="pt")
    with torch.inference_mode():
        expected = model(**prompt).logits[0].softmax(-1).tolist()
    task = "text-classification"
    served = loaded(folder, task, companion=str(base))
    found = predict(served, inputs(task, text=TEXT), parameters(task, top_k=4))
    assert {one.label: one.score for one in found} == pytest.approx(
        {f"LABEL_{at}": score for at, score in enumerate(expected)}, abs=1e-5
    )


def test_a_base_without_the_head_that_the_adapter_lacks_too(base: Path, adapter: Path) -> None:
    with pytest.raises(WrongTask, match="score"):
        loaded(adapter, "text-classification", companion=str(base))


def test_an_adapter_of_another_model(adapter: Path, tmp_path: Path) -> None:
    other = tiny.question_answering(tmp_path / "other")
    with pytest.raises(ModelError):
        written(adapter, companion=str(other))


def test_an_adapter_of_which_a_part_is_missing(base: Path, adapter: Path) -> None:
    file = adapter / "adapter_model.safetensors"
    tensors = load_file(file)
    tensors.pop(next(iter(tensors)))
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(ModelError, match="missing adapter keys"):
        written(adapter, companion=str(base))


def test_an_adapters_own_tokenizer_is_taken(base: Path, adapter: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.model_max_length = 9
    tokenizer.save_pretrained(adapter)
    served = loaded(adapter, "text-generation", companion=str(base))
    assert served.info().max_input_length == 9


def test_pickled_adapters_are_refused(base: Path, adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(UnsafeWeights):
        written(adapter, companion=str(base))


def test_without_the_package_it_says_how_to_get_it(
    base: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UnsupportedModel, match="peft") as refused:
        written(adapter, companion=str(base))
    assert "pip install 'modeldeploy[peft]'" in refused.value.hint


def test_its_files_are_where_the_fetcher_looks(adapter: Path) -> None:
    assert json.loads((adapter / "adapter_config.json").read_text())["task_type"] == "CAUSAL_LM"
    assert (adapter / "adapter_model.safetensors").exists()
