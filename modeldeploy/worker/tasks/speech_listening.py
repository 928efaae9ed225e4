"""Whisper's encoder, heard once: to find out the language ``generate`` encodes the sound, and then
encodes it again to write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class Listener:
    """Stands for ``forward`` of Whisper's encoder. The mask that it is given it does not read
    (transformers ``modeling_whisper.py``), so it is left out: all calls are alike, and a graph can
    stand for them."""

    def __init__(self, encoder: Any) -> None:
        self.forward: Callable[..., Any] = encoder.forward
        self._latest: tuple[torch.Tensor, Any] | None = None

    def __call__(
        self, input_features: torch.Tensor, attention_mask: Any = None, **more: Any
    ) -> Any:
        if any(value is not None for name, value in more.items() if name != "return_dict"):
            return self.forward(input_features, attention_mask=attention_mask, **more)
        if self._latest is None or not torch.equal(self._latest[0], input_features):
            self._latest = (input_features, self.forward(input_features=input_features))
        return self._latest[1]

    def forget(self) -> None:
        """Nothing more comes of this sound."""
        self._latest = None
