"""How texts of different lengths may share a call: only so that each gets what it gets alone.

Padding is not neutral to every model (FNet mixes it in, ConvBERT and Funnel look at neighbours), and
neither is a row that several texts share. A comparison on the model itself decides, not a list of
names.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import torch

from modeldeploy.worker.compute.likeness import gap
from modeldeploy.worker.compute.unpadded import Unpadded

log = logging.getLogger(__name__)

Layout = Literal["unpadded", "padded", "equal", "alone"]
Tensors = dict[str, Any]
Pad = Callable[[Sequence[list[int]]], Tensors]

_LENGTHS = (5, 13, 9)
_ROW = 19  # so that two of them share a row, and one is in a longer one alone
# Largest difference over the outputs' standard deviation.
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.02}
_LOCAL = ("sliding_window", "local_attention", "attention_window")


def find(encoder: Any, pad: Pad, unpadded: Sequence[Unpadded]) -> tuple[Layout, Unpadded | None]:
    """The best layout that leaves the encoder's results as they are, and which of the candidates
    ``unpadded`` does it. ``pad`` makes the tensors that ``encoder`` is called with."""
    given = texts(encoder.config, _LENGTHS)
    with torch.inference_mode():
        alone = [_run(encoder.forward, pad([text]))[0] for text in given]
        for candidate in unpadded:
            with candidate.rows_of(_ROW):
                if _same(encoder, alone, candidate, pad(given)):
                    return "unpadded", candidate
        if _same(encoder, alone, encoder.forward, pad(given)):
            return "padded", None
        if _same(encoder, alone[:1] * 2, encoder.forward, pad(given[:1] * 2)):
            return "equal", None
    return "alone", None


def looks_far(config: Any) -> bool:
    """Whether every token sees the whole text: a comparison of short texts tells nothing of
    windows."""
    text = config.get_text_config()
    kinds = getattr(text, "layer_types", None) or ()
    local = any("sliding" in kind or "chunked" in kind for kind in kinds)
    return not local and not any(getattr(text, name, None) for name in _LOCAL)


def texts(config: Any, lengths: Iterable[int]) -> list[list[int]]:
    """Ids from the middle of the vocabulary, where no special ones are."""
    size = int(config.get_text_config().vocab_size)
    low = size // 2
    return [[low + (7 * at + 3 * n) % max(1, size - low) for at in range(n)] for n in lengths]


def _run(forward: Callable[..., Any], tensors: Tensors) -> list[torch.Tensor]:
    """What is made of each text, flat: of its tokens, and of them pooled where the encoder does."""
    found = forward(**tensors)
    hidden, mask = found.last_hidden_state, tensors.get("attention_mask")
    rows = list(hidden)
    if mask is not None and hidden.shape[:2] == mask.shape:
        rows = [row[there.bool()] for row, there in zip(hidden, mask, strict=True)]
    pooled = getattr(found, "pooler_output", None)
    if pooled is None:
        return [row.flatten() for row in rows]
    return [_flat(one) for one in zip(rows, pooled, strict=True)]


def _same(
    encoder: Any, alone: list[torch.Tensor], forward: Callable[..., Any], tensors: Tensors
) -> bool:
    """Whether ``forward`` makes of texts together what was made of them alone."""
    try:
        together = _run(forward, tensors)
    except Exception as error:  # whatever an exotic model raises: it has other ways
        log.info("a layout of batches is not for this model: %s: %s", type(error).__name__, error)
        return False
    if any(one.shape != other.shape for one, other in zip(alone, together, strict=True)):
        return False
    return gap([_flat(alone)], [_flat(together)]) < _TOLERANCE[encoder.dtype]


def _flat(tensors: Iterable[torch.Tensor]) -> torch.Tensor:
    return torch.cat([one.flatten() for one in tensors])
