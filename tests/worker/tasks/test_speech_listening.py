"""Whisper's encoder computes a sound once, and forgets it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tests.models import sounds
from tests.worker.adapters import inputs, loaded, parameters

TASK = "automatic-speech-recognition"


def test_a_sound_is_encoded_once_and_gives_the_same(tmp_path: Path) -> None:
    snapshot = sounds.whisper(tmp_path / "model")
    plain: Any = loaded(snapshot, TASK, optimize="no")
    quick: Any = loaded(snapshot, TASK)
    asked = [inputs(TASK, audio=sounds.encoded(sounds.noise(length))) for length in (0.5, 1.0)]
    items = [quick.pre(one, parameters(TASK))[0] for one in asked]
    heard: list[torch.Tensor] = []
    listener = quick.model.get_encoder().forward
    encode = listener.forward

    def counting(input_features: torch.Tensor, **more: Any) -> Any:
        heard.append(input_features)
        return encode(input_features, **more)

    listener.forward = counting
    for batch in ([items[0]], [items[1]], items, [items[0]]):
        heard.clear()
        found = quick.core(batch)
        assert len(heard) == 1, "the language was asked for, and the sound encoded for it alone"
        for one, other in zip(plain.core(batch), found, strict=True):
            assert torch.equal(one["tokens"], other["tokens"])


def test_without_optimising_it_is_transformers_own(tmp_path: Path) -> None:
    plain: Any = loaded(sounds.whisper(tmp_path / "model"), TASK, optimize="no")
    assert "forward" not in vars(plain.model.get_encoder())
