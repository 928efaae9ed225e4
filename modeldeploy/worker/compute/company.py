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

from modeldeploy.worker.compute.likeness import gap, tensors_of
from modeldeploy.worker.compute.unpadded import Unpadded

log = logging.getLogger(__name__)

Layout = Literal["unpadded", "padded", "equal", "alone"]
Tensors = dict[str, Any]
Pad = Callable[[Sequence[list[int]]], Tensors]

LENGTHS = (5, 13, 9)  # tokens of texts that are compared
_ROW = 19  # so that two of them share a row, and one is in a longer one alone
# Largest difference over the outputs' standard deviation.
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.02}
_LOCAL = ("sliding_window", "local_attention", "attention_window")


def find(encoder: Any, pad: Pad, unpadded: Sequence[Unpadded]) -> tuple[Layout, Unpadded | None]:
    """The best layout that leaves the encoder's results as they are, and which of the candidates
    ``unpadded`` does it. ``pad`` makes the tensors that ``encoder`` is called with."""
    given = texts(encoder.config, LENGTHS)
    with torch.inference_mode():
        alone = [parts(encoder.forward, pad([text]))[0] for text in given]
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


def parts(forward: Callable[..., Any], tensors: Tensors) -> list[list[torch.Tensor]]:
    """What is made of each text: its part of every tensor of the output, because a head may read any."""
    found = [one for one in tensors_of(forward(**tensors)) if one.dim()]
    shape, mask = tensors["input_ids"].shape, tensors.get("attention_mask")
    if any(len(one) != shape[0] for one in found):
        raise ValueError("its output has no row for each text")
    places = [slice(None)] * shape[0] if mask is None else list(mask.bool())
    return [
        [one[row][places[row]] if one.shape[:2] == shape else one[row] for one in found]
        for row in range(shape[0])
    ]


def _same(
    encoder: Any, alone: list[list[torch.Tensor]], forward: Callable[..., Any], tensors: Tensors
) -> bool:
    """Whether ``forward`` makes of texts together what was made of them alone."""
    try:
        together = parts(forward, tensors)
    except Exception as error:  # whatever an exotic model raises: it has other ways
        log.info("a layout of batches is not for this model: %s: %s", type(error).__name__, error)
        return False
    mine, theirs = ([[one.shape for one in text] for text in side] for side in (alone, together))
    if mine != theirs:
        return False
    return gap(flat(alone), flat(together)) < _TOLERANCE[encoder.dtype]


def flat(texts: list[list[torch.Tensor]]) -> list[torch.Tensor]:
    """Each kind of output, of all texts."""
    return [torch.cat([one.flatten() for one in kind]) for kind in zip(*texts, strict=True)]
