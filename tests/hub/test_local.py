"""Directories and embedded models: no download, no Hub, the same demands."""

from __future__ import annotations

import errno
import os
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from modeldeploy.errors import ModelDeployError, UnsupportedModel
from modeldeploy.hub import local
from modeldeploy.hub.resolve import resolve as run_here
from modeldeploy.hub.secrets import Redactor
from modeldeploy.hub.wire import Reporter
from modeldeploy.modelids import BuiltinModel, LocalModel
from modeldeploy.schema.deployment import Spec
from modeldeploy.schema.fetch import ResolvedModel
from tests.hub.conftest import config, files, needed
from tests.hub.fetcher import QUICK, Fetcher


def write(root: Path, content: dict[str, bytes]) -> Path:
    for name, data in content.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def resolve(root: Path, **spec: Any) -> ResolvedModel:
    return local.resolve(LocalModel(root), Spec(model_id=str(root), cache_dir="/x", **spec))


def refused(root: Path, **spec: Any) -> ModelDeployError:
    with pytest.raises(ModelDeployError) as caught:
        resolve(root, **spec)
    return caught.value


def test_a_directory_is_served_where_it_is(fetcher: Fetcher, tmp_path: Path) -> None:
    content = files()
    root = write(tmp_path / "my model", content)
    fetcher.endpoint = "http://127.0.0.1:9"
    outcome = fetcher.run(str(root))
    model = outcome.model
    assert (model.snapshot, model.commit, model.downloaded_bytes) == (str(root), None, 0)
    assert (model.task, model.weights_bytes) == ("text-generation", 300_000)
    assert model.total_bytes == needed(content)
    assert outcome.downloads[-1].fraction == 1.0
    assert not fetcher.cache.exists()


def test_it_needs_no_huggingface_hub(fetcher: Fetcher, tmp_path: Path) -> None:
    root = write(tmp_path / "model", files())
    fetcher.prelude = "import sys; sys.modules['huggingface_hub'] = None; "
    assert fetcher.model(str(root)).snapshot == str(root)


def test_the_task_of_its_card(tmp_path: Path) -> None:
    card = b"---\npipeline_tag: text-classification\n---\n"
    root = write(tmp_path, files({"README.md": card}))
    assert resolve(root).task == "text-classification"


def test_echo_needs_no_weights(tmp_path: Path) -> None:
    root = write(tmp_path, {"config.json": config("Echo", "echo")})
    model = resolve(root)
    assert (model.task, model.model_type, model.weights_bytes) == ("echo", "nlp", 0)


def test_sharded(tmp_path: Path) -> None:
    index = b'{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}'
    shards = {"model-1.safetensors": b"123", "model-2.safetensors": b"45"}
    base = {"config.json": config(), "model.safetensors.index.json": index}
    assert resolve(write(tmp_path / "whole", base | shards)).weights_bytes == 5
    shards.popitem()
    error = refused(write(tmp_path / "part", base | shards))
    assert "model-2.safetensors" in error.message


@pytest.mark.parametrize(
    "index",
    [
        b"{",
        b"{}",
        b'{"weight_map": {}}',
        b'{"weight_map": {"a": "../../etc/passwd"}}',
        b'{"weight_map": {"a": "../model.safetensors"}}',
        b'{"weight_map": {"a": "x.bin"}}',
    ],
)
def test_an_index_that_misleads(tmp_path: Path, index: bytes) -> None:
    content = {"config.json": config(), "model.safetensors.index.json": index, "x.bin": b"x"}
    assert refused(write(tmp_path, content)).code == "unsupported_model"


@pytest.mark.parametrize(
    ("content", "code", "word"),
    [
        ({"config.json": config()}, "unsupported_model", "no weights"),
        ({"model.safetensors": b"x"}, "unsupported_model", "config.json"),
        ({"config.json": config(), "pytorch_model.bin": b"x"}, "unsafe_weights", "pickle"),
        ({"config.json": config(), "m.gguf": b"x"}, "unsupported_model", "GGUF"),
        (files({"model.safetensors": b""}), "unsupported_model", "empty"),
        (
            files({"model.safetensors": b"version https://git-lfs.github.com/spec/v1\noid x"}),
            "unsupported_model",
            "Git LFS pointer",
        ),
        (files({"config.json": b"nonsense"}), "unsupported_model", "config.json"),
        (files({"config.json": b"{}"}), "ambiguous_task", "which task"),
    ],
)
def test_what_cannot_be_served(
    tmp_path: Path, content: dict[str, bytes], code: str, word: str
) -> None:
    error = refused(write(tmp_path, content))
    assert error.code == code
    assert word in error.message


def test_pickle_with_the_opt_in(tmp_path: Path) -> None:
    root = write(tmp_path, {"config.json": config(), "pytorch_model.bin": b"12345"})
    assert resolve(root, allow_pickle=True).weights_bytes == 5


def test_what_is_no_directory(tmp_path: Path) -> None:
    assert refused(tmp_path / "nowhere").code == "model_not_found"
    file = tmp_path / "model.gguf"
    file.write_bytes(b"x")
    assert refused(file).code == "unsupported_model"


def test_what_may_not_be_read(
    fetcher: Fetcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    root = write(tmp_path / "model", files())
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(UnsupportedModel, match="Permission denied"):
        run_here(fetcher.request(str(root)), Reporter(lambda _line: None), QUICK, Redactor())


def test_more_than_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path, files(size=5000))
    monkeypatch.setattr("modeldeploy.machine.memory_total", lambda: 4000)
    error = refused(root)
    assert error.code == "model_too_large"
    assert "5.0 kB" in error.message
    assert "4.0 kB" in error.message
    assert resolve(root, device="cuda:0").weights_bytes == 5000


@pytest.fixture
def embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of embedded models that has one."""
    root = write(tmp_path / "one", files({"config.json": config("XForSequenceClassification")}))
    package = types.ModuleType("modeldeploy.builtin")
    package.__dict__.update(path={"one": root}.__getitem__, names=lambda: ["one"])
    monkeypatch.setitem(sys.modules, "modeldeploy.builtin", package)
    return root


def test_an_embedded_model(embedded: Path) -> None:
    model = local.resolve(BuiltinModel("one"), Spec(model_id="builtin/one", cache_dir="/x"))
    assert (model.snapshot, model.task) == (str(embedded), "text-classification")


@pytest.mark.usefixtures("embedded")
def test_an_embedded_model_that_there_is_not() -> None:
    with pytest.raises(ModelDeployError) as caught:
        local.resolve(BuiltinModel("two"), Spec(model_id="builtin/two", cache_dir="/x"))
    assert caught.value.code == "model_not_found"
    assert "builtin/one" in caught.value.hint


@pytest.mark.promise(15, fault="a config.json of two gigabytes, most of them a hole")
def test_what_describes_a_model_is_read_only_where_it_is_no_larger_than_that(
    tmp_path: Path,
) -> None:
    root = write(tmp_path, files())
    os.truncate(root / "config.json", 2**31)
    error = refused(root)
    assert error.code == "unsupported_model"
    assert "its config.json has 2,147,483,648 bytes" in error.message
