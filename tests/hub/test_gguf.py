"""GGUF files: exactly the one that was asked for comes, and a worker is told where it goes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from modeldeploy.errors import ModelDeployError
from modeldeploy.hub import local
from modeldeploy.modelids import LocalModel
from modeldeploy.schema.deployment import Spec
from tests.fakehub import FakeHub
from tests.hub.conftest import config, noise
from tests.hub.fetcher import Fetcher

Q4 = b"GGUF" + noise(200_000, 4)
Q8 = b"GGUF" + noise(300_000, 8)
FILES = {"m-Q4.gguf": Q4, "big/m-Q8.gguf": Q8, "README.md": b"# m", "config.json": config()}


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("file", "content"), [("m-Q4.gguf", Q4), ("big/m-Q8.gguf", Q8)], ids=["root", "folder"]
)
def test_exactly_that_file_comes(
    fake_hub: FakeHub, fetcher: Fetcher, file: str, content: bytes
) -> None:
    commit = fake_hub.add("org/m", FILES)
    model = fetcher.model(f"org/m:{file}")
    assert fake_hub.sent("*/resolve/*") == len(content)
    assert (model.commit, model.task, model.model_type) == (commit, "text-generation", "nlp")
    assert model.weights_bytes == model.total_bytes == model.downloaded_bytes == len(content)
    folder = fetcher.cache / "models--org--m"
    assert model.gguf == str(folder / "snapshots" / commit / file)
    assert Path(model.gguf).read_bytes() == content
    assert model.snapshot == str(folder / "modeldeploy-gguf" / digest(content))
    assert not Path(model.snapshot).exists()


def test_the_second_time_nothing_comes(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    fake_hub.add("org/m", FILES)
    first = fetcher.model("org/m:m-Q4.gguf")
    fake_hub.forget()
    assert fetcher.model("org/m:m-Q4.gguf").snapshot == first.snapshot
    assert fake_hub.sent("*/resolve/*") == 0
    assert fetcher.model("org/m:m-Q4.gguf", offline=True).gguf == first.gguf


def test_a_damaged_one_comes_again(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    fake_hub.add("org/m", FILES)
    fake_hub.fault("*.gguf", flip=1000, times=1)
    model = fetcher.model("org/m:m-Q4.gguf")
    assert model.gguf is not None
    assert Path(model.gguf).read_bytes() == Q4


def test_another_revision_and_a_task_that_was_asked_for(
    fake_hub: FakeHub, fetcher: Fetcher
) -> None:
    fake_hub.add("org/m", {"m.gguf": Q8})
    old = fake_hub.add("org/m", {"m.gguf": Q4}, revision="v1")
    model = fetcher.model("org/m@v1:m.gguf", task="text-classification")
    assert (model.commit, model.task) == (old, "text-classification")


@pytest.mark.parametrize(
    ("model_id", "words", "hint"),
    [
        ("org/m:m-Q5.gguf", "no file m-Q5.gguf", "big/m-Q8.gguf, m-00001"),
        ("org/m:m-00001-of-00002.gguf", "several files", "merge"),
        ("org/plain:m.gguf", "no file", "no GGUF"),
        ("org/m", "only as GGUF", "MODEL:big/m-Q8.gguf"),
    ],
)
def test_what_cannot_be_served_says_what_can(
    fake_hub: FakeHub, fetcher: Fetcher, model_id: str, words: str, hint: str
) -> None:
    fake_hub.add("org/m", {**FILES, "m-00001-of-00002.gguf": Q4})
    fake_hub.add("org/plain", {"config.json": config(), "model.safetensors": noise(9)})
    problem = fetcher.problem(model_id)
    assert problem.code == "unsupported_model"
    assert words in problem.message
    assert hint in problem.hint
    assert fake_hub.sent("*.gguf") == 0


def test_without_the_package_nothing_is_downloaded(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    fake_hub.add("org/m", FILES)
    fetcher.prelude = "import importlib.util as u; u.find_spec = lambda name: None; "
    problem = fetcher.problem("org/m:m-Q4.gguf")
    assert problem.code == "unsupported_model"
    assert "pip install 'modeldeploy[gguf]'" in problem.hint
    assert fake_hub.sent("*/resolve/*") == 0


def resolve(file: Path, **spec: Any) -> Any:
    return local.resolve(LocalModel(file), Spec(model_id=str(file), cache_dir="/cache", **spec))


def test_a_local_file(tmp_path: Path) -> None:
    file = tmp_path / "my model.gguf"
    file.write_bytes(Q4)
    model = resolve(file)
    assert (model.gguf, model.commit, model.weights_bytes) == (str(file), None, len(Q4))
    assert model.snapshot == f"/cache/.modeldeploy-gguf/{digest(Q4)}"


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (b"PK\x03\x04", "not a GGUF file"),
        (b"version https://git-lfs.github.com/spec/v1\noid x", "Git LFS pointer"),
    ],
)
def test_a_local_file_that_is_none(tmp_path: Path, content: bytes, word: str) -> None:
    file = tmp_path / "m.gguf"
    file.write_bytes(content)
    with pytest.raises(ModelDeployError, match=word):
        resolve(file)
