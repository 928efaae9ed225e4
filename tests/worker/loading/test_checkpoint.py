from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from modeldeploy.errors import (
    DeviceUnavailable,
    ModelDeployError,
    ModelError,
    RemoteCodeRefused,
    UnsafeWeights,
    UnsupportedModel,
    WrongTask,
)
from tests.models import tiny
from tests.worker.adapters import loaded

TASK = "text-classification"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.classifier(tmp_path_factory.mktemp("classifier"))


@pytest.fixture
def snapshot(whole: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def _configured(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return change


def _written(name: str, content: bytes) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return write


def _removed(*names: str) -> Callable[[Path], None]:
    def remove(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return remove


def _cut_short(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")


_CODE = {"AutoConfig": "a.B", "AutoModelForSequenceClassification": "a.C"}


@pytest.mark.parametrize(
    ("damage", "error", "says"),
    [
        (_removed("config.json"), UnsupportedModel, "config.json"),
        (_written("config.json", b"{"), ModelError, "config.json"),
        (_written("config.json", b"[" * 100_000), ModelError, "config.json"),
        (_written("config.json", b"[]"), ModelError, "config.json"),
        (_written("config.json", b"{}"), UnsupportedModel, "architecture"),
        (_configured(model_type="zork"), UnsupportedModel, "architecture"),
        (_configured(model_type="zork", auto_map=_CODE), RemoteCodeRefused, "code"),
        (_configured(_attn_implementation="some/kernels"), RemoteCodeRefused, "some/kernels"),
        (_configured(deep=[{"attn_implementation": {"": "a/b"}}]), RemoteCodeRefused, "a/b"),
        (_configured(hidden_size=64), ModelError, "shapes"),
        (_configured(hidden_size="many"), ModelError, "hidden_size"),
        (_configured(num_hidden_layers=3), ModelError, "missing"),
        (_written("model.safetensors", b"\xff" * 100), ModelError, "damaged"),
        (_written("model.safetensors", b""), ModelError, "damaged"),
        (_cut_short, ModelError, "damaged"),
        (_removed("model.safetensors"), ModelError, "safetensors"),
        (_pickled, UnsafeWeights, "pickle"),
        (_removed("tokenizer.json", "tokenizer_config.json"), ModelError, "no tokenizer"),
        (_written("tokenizer.json", b"{"), ModelError, "the tokenizer"),
        (_written("tokenizer.json", b'{"model": {}}'), ModelError, "the tokenizer"),
    ],
)
@pytest.mark.promise(15, fault="each file of a model is damaged or missing")
def test_a_damaged_model_has_one_line_of_cause(
    snapshot: Path, damage: Callable[[Path], None], error: type[ModelDeployError], says: str
) -> None:
    damage(snapshot)
    with pytest.raises(error) as refused:
        loaded(snapshot, TASK)
    assert type(refused.value) is error
    assert says in refused.value.message
    assert "\n" not in refused.value.message


def test_a_head_that_is_not_there_names_it_and_the_right_task(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(WrongTask, match=r"qa_outputs\.bias") as refused:
        loaded(whole, "question-answering")
    assert "BertForSequenceClassification" in refused.value.message
    assert "--task text-classification" in refused.value.hint
    with pytest.raises(WrongTask, match="image-classification"):
        loaded(whole, "image-classification")
    with pytest.raises(WrongTask, match=r"score\.weight"):
        loaded(tiny.gpt2(tmp_path / "gpt2"), TASK)


def test_progress_counts_tensors(whole: Path) -> None:
    seen: list[tuple[int, int]] = []
    loaded(whole, TASK, progress=lambda done, total: seen.append((done, total)))
    total = seen[-1][1]
    assert total > 30
    assert seen == [(n, total) for n in range(1, total + 1)]


@pytest.mark.parametrize("device", ["cuda", "cuda:3", "mps"])
def test_a_device_that_is_not_there_is_named(whole: Path, device: str) -> None:
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("there is one here")
    with pytest.raises(DeviceUnavailable):
        loaded(whole, TASK, device=device)


def test_the_dtype_asked_for_is_the_one_loaded(whole: Path) -> None:
    assert loaded(whole, TASK, dtype="bfloat16").info().dtype == "bfloat16"
    assert loaded(whole, TASK, dtype="auto").info().dtype == "float32"


def test_pickled_weights_load_when_allowed(snapshot: Path, whole: Path) -> None:
    adapter: Any = loaded(whole, TASK, optimize="no")
    (snapshot / "model.safetensors").unlink()
    torch.save(adapter.model.state_dict(), snapshot / "pytorch_model.bin")
    again: Any = loaded(snapshot, TASK, optimize="no", allow_pickle=True)
    assert torch.equal(again.model.classifier.weight, adapter.model.classifier.weight)
