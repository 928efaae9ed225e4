from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from tests.fakehub import FakeHub, fake_hub
from tests.hub.fetcher import Fetcher

__all__ = ["fake_hub"]


@pytest.fixture
def fetcher(fake_hub: FakeHub, tmp_path: Path) -> Fetcher:
    """A fetcher on an empty cache, asking the loopback Hub."""
    home = tmp_path / "home"
    home.mkdir()
    return Fetcher(cache=tmp_path / "cache", home=home, endpoint=fake_hub.endpoint)


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that look like weights to everything here: no two parts alike."""
    return random.Random(seed).randbytes(size)


def config(architecture: str = "GPT2LMHeadModel", model_type: str = "gpt2") -> bytes:
    return json.dumps({"model_type": model_type, "architectures": [architecture]}).encode()


def files(more: dict[str, bytes] | None = None, *, size: int = 300_000) -> dict[str, bytes]:
    """A small model: config, tokenizer and ``size`` bytes of weights; and ``more``."""
    return {
        "config.json": config(),
        "tokenizer.json": b'{"version": "1.0"}',
        "vocab.txt": b"a\nb\n",
        "model.safetensors": noise(size),
        "README.md": b"# a model",
        **(more or {}),
    }


def needed(content: dict[str, bytes]) -> int:
    """Bytes of ``files`` that a deployment needs."""
    return sum(len(data) for name, data in content.items() if name != "README.md")
