"""Models that come as a GGUF file or as an adapter, from the Hub or from this disk, by one command."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.instance import Instance, get, post
from tests.fakehub import FakeHub
from tests.models import gguf_file, peft_adapters, smollm2, tiny

pytestmark = pytest.mark.e2e


def written(url: str, text: str, **more: object) -> str:
    status, answer = post(
        f"{url}/predict", {"text": text, "max_new_tokens": 8, **more}, timeout=120
    )
    assert status == 200, answer
    generated: str = answer["result"][0]["generated_text"]
    return generated


def test_a_gguf_file_of_the_hub_is_converted_once(
    instance: Instance, fake_hub: FakeHub, tmp_path: Path
) -> None:
    instance.use_hub(fake_hub.endpoint)
    file = gguf_file.llama(tmp_path / "tiny.Q8_0.gguf")
    commit = fake_hub.add("org/tiny-GGUF", {file.name: file.read_bytes(), "README.md": b"# tiny"})
    shown = instance.deploy(f"org/tiny-GGUF:{file.name}")
    assert (shown["name"], shown["revision"]) == ("tiny-q8-0", commit)
    assert shown["task"] == "text-generation"
    first = written(shown["url"], "Once upon")
    assert first.startswith("Once upon")
    made = Path(shown["snapshot"]) / "model.safetensors"
    before = made.stat()

    fake_hub.forget()
    instance.run("restart", "tiny-q8-0")
    assert written(shown["url"], "Once upon") == first
    assert made.stat() == before, "it was converted again"
    assert fake_hub.sent("*/resolve/*") == 0


def test_an_adapter_is_served_on_its_base_model(
    instance: Instance, fake_hub: FakeHub, tmp_path: Path
) -> None:
    instance.use_hub(fake_hub.endpoint)
    base = tiny.gpt2(tmp_path / "base")
    fake_hub.add("org/base", base, private=True)
    adapter = peft_adapters.generator(tmp_path / "adapter", base, "org/base")
    commit = fake_hub.add("org/adapter", adapter, private=True)
    instance.env["HF_TOKEN"] = "hf_admitted"
    shown = instance.deploy("org/adapter")
    assert shown["revision"] == commit
    plain = instance.deploy("org/base")
    assert written(shown["url"], "Once upon") != written(plain["url"], "Once upon")
    assert get(f"{shown['url']}/info")[1]["model_id"] == "org/adapter"


@pytest.mark.slow
def test_smollm2_from_the_file_that_its_package_carries(instance: Instance) -> None:
    shown = instance.deploy(str(smollm2.file()))
    said = written(shown["url"], "The capital of France is", return_full_text=False)
    assert "Paris" in said
