"""A GGUF file becomes a snapshot, once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from modeldeploy.errors import ModelError, UnsupportedModel
from modeldeploy.worker.loading import gguf
from modeldeploy.worker.loading.convert import convert
from tests.models import gguf_file
from tests.worker.adapters import inputs, loaded, parameters, predict

TASK = "text-generation"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gguf_file.llama(tmp_path_factory.mktemp("gguf") / "tiny.Q8_0.gguf")


@pytest.fixture(scope="module")
def snapshot(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made in this process: the one of its own is seen in the end-to-end tests."""
    made = tmp_path_factory.mktemp("cache") / "gguf" / "0123"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gguf, "_run", convert)
        gguf.convert_once(file, made)
    return made


def test_it_holds_what_transformers_reads_of_the_file(file: Path, snapshot: Path) -> None:
    names = {path.name for path in snapshot.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert not [path for path in snapshot.parent.iterdir() if path.suffix == ".partial"]
    read = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32
    )
    made = AutoModelForCausalLM.from_pretrained(snapshot, dtype=torch.float32)
    expected, found = read.state_dict(), made.state_dict()
    assert set(expected) == set(found)
    for name, tensor in expected.items():
        assert torch.allclose(tensor, found[name], atol=1e-3)
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    ids = tokenizer("Once upon a time")["input_ids"]
    assert AutoTokenizer.from_pretrained(snapshot)("Once upon a time")["input_ids"] == ids


def test_it_generates_what_it_generates_in_transformers(file: Path, snapshot: Path) -> None:
    read = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32
    )
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    prompt = tokenizer("Once upon", return_tensors="pt")
    expected = tokenizer.decode(
        read.generate(**prompt, max_new_tokens=8, do_sample=False)[0], skip_special_tokens=True
    )
    how = parameters(TASK, max_new_tokens=8)
    found = predict(loaded(snapshot, TASK), inputs(TASK, text="Once upon"), how)
    assert found[0].generated_text == expected


def test_the_second_time_nothing_is_converted(file: Path, snapshot: Path) -> None:
    before = (snapshot / "model.safetensors").stat()
    gguf.convert_once(file.with_name("gone.gguf"), snapshot)
    assert (snapshot / "model.safetensors").stat() == before


def test_a_damaged_file_leaves_nothing(tmp_path: Path) -> None:
    file = tmp_path / "damaged.gguf"
    file.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ModelError):
        gguf.convert_once(file, tmp_path / "cache" / "0123")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["0123.lock"]


def test_without_the_package_it_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UnsupportedModel, match="gguf and accelerate") as refused:
        gguf.convert_once(tmp_path / "x.gguf", tmp_path / "0123")
    assert "pip install 'modeldeploy[gguf]'" in refused.value.hint
