"""What a row's rules and penalties look at, as tensors that grow: a step costs what is new in it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

_FIRST = 64  # numbers there is room for


class _Numbers:
    """A tensor of whole numbers that grows at its end."""

    def __init__(self, device: torch.device) -> None:
        self._held = torch.empty(_FIRST, dtype=torch.long, device=device)
        self.count = 0

    def extend(self, numbers: Sequence[int]) -> None:
        if not numbers:
            return
        end = self.count + len(numbers)
        if end > len(self._held):
            grown = self._held.new_empty(2 * end)
            grown[: self.count] = self.whole
            self._held = grown
        self._held[self.count : end] = torch.tensor(numbers, device=self._held.device)
        self.count = end

    @property
    def whole(self) -> torch.Tensor:
        return self._held[: self.count]


class History:
    """Of one row that goes on from ``prompt``; each method is given all that it has ``written``."""

    def __init__(self, prompt: Sequence[int], device: torch.device) -> None:
        self._prompt = prompt
        self._ids = _Numbers(device)
        self._ids.extend(prompt)
        self._seen = _Numbers(device)
        self._known: set[int] = set()
        self._see(prompt)
        self._looked = 0
        self._counted, self._times = _Numbers(device), _Numbers(device)
        self._places: dict[int, int] = {}
        self._told = 0

    def so_far(self, written: Sequence[int]) -> torch.Tensor:
        """The tokens of prompt and text, shape (length)."""
        self._ids.extend(written[self._ids.count - len(self._prompt) :])
        return self._ids.whole

    def seen(self, written: Sequence[int]) -> torch.Tensor:
        """The same, each once."""
        self._see(written[self._looked :])
        self._looked = len(written)
        return self._seen.whole

    def counts(self, written: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """The tokens of the text, each once, and how often."""
        for token in written[self._told :]:
            if token not in self._places:
                self._places[token] = len(self._places)
                self._counted.extend([token])
                self._times.extend([0])
            self._times.whole[self._places[token]] += 1
        self._told = len(written)
        return self._counted.whole, self._times.whole

    def _see(self, tokens: Sequence[int]) -> None:
        new = [token for token in dict.fromkeys(tokens) if token not in self._known]
        self._known.update(new)
        self._seen.extend(new)
