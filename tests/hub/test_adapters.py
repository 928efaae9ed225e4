"""Adapters (PEFT) and voices come with what they are loaded with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fakehub import FakeHub
from tests.hub.conftest import config, files, needed, noise
from tests.hub.fetcher import Fetcher
from tests.hub.test_local import write


def adapter(base: str = "org/base", **more: Any) -> dict[str, bytes]:
    settings = {
        "base_model_name_or_path": base,
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        **more,
    }
    return {
        "adapter_config.json": json.dumps(settings).encode(),
        "adapter_model.safetensors": noise(20_000, 5),
        "README.md": b"# an adapter",
    }


def test_the_base_model_comes_too(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    base, own = files(), adapter()
    base_commit = fake_hub.add("org/base", base)
    commit = fake_hub.add("org/adapter", own)
    outcome = fetcher.run("org/adapter")
    model = outcome.model
    assert (model.model_id, model.commit) == ("org/adapter", commit)
    assert (model.task, model.architectures) == ("text-generation", ["GPT2LMHeadModel"])
    assert model.snapshot == str(fetcher.cache / "models--org--adapter" / "snapshots" / commit)
    assert model.companion == str(fetcher.cache / "models--org--base" / "snapshots" / base_commit)
    assert {path.name for path in Path(model.snapshot).iterdir()} == set(own) - {"README.md"}
    total = needed(base) + needed(own)
    assert model.weights_bytes == 320_000
    assert model.total_bytes == model.downloaded_bytes == total
    done = [line.done_bytes for line in outcome.downloads]
    assert done == sorted(done)
    assert outcome.downloads[-1].done_bytes == outcome.downloads[-1].total_bytes == total


def test_the_second_time_nothing_comes_also_offline(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    fake_hub.add("org/base", files())
    fake_hub.add("org/adapter", adapter())
    first = fetcher.model("org/adapter")
    fake_hub.forget()
    again = fetcher.model("org/adapter")
    offline = fetcher.model("org/adapter", offline=True)
    assert again.downloaded_bytes == offline.downloaded_bytes == 0
    assert again.companion == offline.companion == first.companion
    assert fake_hub.sent("*/resolve/*") == 0


def test_with_the_same_token_and_the_revision_it_names(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    old = fake_hub.add("org/base", files(), private=True, revision="v1")
    fake_hub.add("org/base", files(size=9), private=True)
    fake_hub.add("org/adapter", adapter(revision="v1"), private=True)
    fetcher.token = "hf_admitted"
    companion = fetcher.model("org/adapter").companion
    assert companion is not None
    assert companion.endswith(old)


@pytest.mark.parametrize(
    ("kind", "more", "task"),
    [
        ("SEQ_CLS", {}, "text-classification"),
        (None, {}, "text-generation"),
        ("SEQ_CLS", {"task": "text-ranking"}, "text-ranking"),
        (None, {"task": "question-answering"}, "question-answering"),
    ],
)
def test_the_task_is_the_adapters_or_the_bases(
    fake_hub: FakeHub, fetcher: Fetcher, kind: str | None, more: dict[str, Any], task: str
) -> None:
    fake_hub.add("org/base", files())
    fake_hub.add("org/adapter", adapter(task_type=kind))
    assert fetcher.model("org/adapter", **more).task == task


@pytest.mark.parametrize(
    ("kind", "asked", "own"),
    [
        ("SEQ_CLS", "text-generation", "text-classification"),
        ("SEQ_CLS", "token-classification", "text-classification"),
        ("CAUSAL_LM", "text-classification", "text-generation"),
    ],
)
def test_another_head_is_refused_before_the_base_is_fetched(
    fake_hub: FakeHub, fetcher: Fetcher, kind: str, asked: str, own: str
) -> None:
    fake_hub.add("org/base", files())
    fake_hub.add("org/adapter", adapter(task_type=kind))
    problem = fetcher.problem("org/adapter", task=asked)
    assert problem.code == "wrong_task"
    assert kind in problem.message
    assert f"--task {own}" in problem.hint
    assert fake_hub.sent("*.safetensors") == 0


@pytest.mark.parametrize(
    ("change", "code", "word"),
    [
        ({"base_model_name_or_path": "/home/author/llama"}, "unsupported_model", "not on the Hub"),
        ({"base_model_name_or_path": "../llama"}, "unsupported_model", "not on the Hub"),
        ({"base_model_name_or_path": None}, "unsupported_model", "adapter_config.json"),
        ({"base_model_name_or_path": "org/nothing"}, "model_not_found", "org/nothing"),
        ({"base_model_name_or_path": "org/adapter"}, "unsupported_model", "itself"),
        ({"peft_type": "PREFIX_TUNING"}, "unsupported_model", "PREFIX_TUNING"),
    ],
)
def test_what_cannot_be_served_is_said(
    fake_hub: FakeHub, fetcher: Fetcher, change: dict[str, Any], code: str, word: str
) -> None:
    fake_hub.add("org/base", files())
    fake_hub.add("org/adapter", adapter(**{"base": "org/base", **_renamed(change)}))
    problem = fetcher.problem("org/adapter")
    assert problem.code == code
    assert word in problem.message
    assert problem.hint
    assert fake_hub.sent("*.safetensors") == 0


def _renamed(change: dict[str, Any]) -> dict[str, Any]:
    return {
        {"base_model_name_or_path": "base"}.get(key, key): value for key, value in change.items()
    }


def test_a_pickled_adapter_comes_only_with_the_opt_in(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    own = adapter()
    own["adapter_model.bin"] = own.pop("adapter_model.safetensors")
    fake_hub.add("org/base", files())
    fake_hub.add("org/adapter", own)
    problem = fetcher.problem("org/adapter")
    assert problem.code == "unsafe_weights"
    assert "--allow-pickle" in problem.hint
    model = fetcher.model("org/adapter", allow_pickle=True)
    assert (Path(model.snapshot) / "adapter_model.bin").exists()


def test_without_the_package_it_says_how_to_get_it(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    fake_hub.add("org/base", files())
    fake_hub.add("org/adapter", adapter())
    fetcher.prelude = "import importlib.util as u; u.find_spec = lambda name: None; "
    assert "pip install 'modeldeploy[peft]'" in fetcher.problem("org/adapter").hint


def test_a_local_adapter_of_a_model_on_the_hub(
    fake_hub: FakeHub, fetcher: Fetcher, tmp_path: Path
) -> None:
    fake_hub.add("org/base", files())
    root = write(tmp_path / "mine", adapter())
    model = fetcher.model(str(root))
    assert model.snapshot == str(root)
    assert model.companion is not None
    assert "/models--org--base/" in model.companion
    assert model.downloaded_bytes == needed(files())


def test_a_local_adapter_of_a_local_model(fetcher: Fetcher, tmp_path: Path) -> None:
    base = write(tmp_path / "base", files())
    root = write(tmp_path / "mine", adapter(str(base)))
    fetcher.endpoint = "http://127.0.0.1:9"
    assert fetcher.model(str(root)).companion == str(base)


def test_a_whole_model_beside_adapter_files_is_a_model(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    fake_hub.add("org/merged", files(adapter()))
    assert fetcher.model("org/merged").companion is None


def test_a_voice_comes_with_its_vocoder(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    voice = files({"config.json": config("SpeechT5ForTextToSpeech", "speecht5")})
    vocoder = files({"config.json": config("SpeechT5HifiGan", "hifigan")}, size=9000)
    fake_hub.add("org/voice", voice)
    fake_hub.add("microsoft/speecht5_hifigan", vocoder)
    model = fetcher.model("org/voice")
    assert model.task == "text-to-speech"
    assert model.companion is not None
    assert "/models--microsoft--speecht5_hifigan/" in model.companion
    assert model.weights_bytes == 309_000
