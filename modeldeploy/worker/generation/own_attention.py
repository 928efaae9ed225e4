"""A model with an attention of ours in place of its own for a while: how its step is run on keys and
values that we hold, each row's as long as it is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from transformers.cache_utils import DynamicLayer
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from modeldeploy.worker.generation.slab import Slab, Unfit, takes

_OURS = "modeldeploy-step"


def shapes(model: Any) -> list[tuple[int, int]]:
    """Heads and width of each layer's keys, which its values have as well.

    Raises:
        Unfit: the model keeps something else, or counts positions by itself.
    """
    if not takes(model, "position_ids"):
        raise Unfit("it counts positions by itself")
    if getattr(model.config.get_text_config(), "attention_chunk_size", None):
        raise Unfit("its attention is in chunks")
    cache = Slab(model).empty()
    with torch.inference_mode():
        Slab(model).read(cache, [1], 0)
    if not all(type(layer) is DynamicLayer for layer in cache.layers):
        raise Unfit("not all that it keeps of a text are keys and values")
    if any(layer.keys.shape != layer.values.shape for layer in cache.layers):
        raise Unfit("its keys and its values differ in width")
    return [(layer.keys.shape[1], layer.keys.shape[3]) for layer in cache.layers]


@contextlib.contextmanager
def in_place(model: Any, attend: Callable[..., tuple[torch.Tensor, None]]) -> Iterator[None]:
    """``attend`` is called as transformers calls its attention functions (``modeling_utils``), with
    what :func:`window` reads in place of a mask. In one thread at a time."""
    before = model.config._attn_implementation  # noqa: SLF001  # transformers' own name for it
    ALL_ATTENTION_FUNCTIONS.register(_OURS, attend)
    ALL_MASK_ATTENTION_FUNCTIONS.register(_OURS, _mask)
    model.config._attn_implementation = _OURS  # noqa: SLF001  # as above
    try:
        yield
    finally:
        model.config._attn_implementation = before  # noqa: SLF001  # as above


def window(mask: torch.Tensor | None, sliding_window: int | None) -> int:
    """How many tokens back a layer looks, itself included; 0 for to the beginning."""
    return mask.shape[0] if mask is not None else sliding_window or 0


def _mask(*args: Any, local_size: int | None = None, **kwargs: Any) -> torch.Tensor:
    """In place of a mask: its first size is how far a token looks back."""
    return torch.empty(local_size or 0, 0)
