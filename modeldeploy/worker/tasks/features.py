"""What a processor makes of images and texts, one input at a time, and batches of it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch

from modeldeploy.errors import InvalidRequest
from modeldeploy.worker.failures import one_line, panics_as_errors

# With the batch's axis, of one row; or, as some processors do, with an axis of images or patches.
Features = dict[str, torch.Tensor]

# What is as long as the text.
_TEXT = frozenset({"input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids", "bbox"})


def processed(make: Callable[[], Any], field: str = "image") -> Features:
    """The tensors that ``make`` gets from a processor.

    Raises:
        InvalidRequest: the processor cannot take what it was given; ``field`` is named.
    """
    try:
        with panics_as_errors():
            found = make()
    except Exception as error:  # processors raise what they like on what they do not like
        raise InvalidRequest(
            f"{field}: the model's processor cannot take it: {one_line(error)}",
            hint="is it of the kind that the model was made for?",
        ) from error
    return {name: value for name, value in found.items() if isinstance(value, torch.Tensor)}


def shapes(features: Features) -> Hashable:
    """Equal for what may share a call: texts may be of any length."""
    return tuple(
        (name, tuple(value.shape[1:]))
        for name, value in sorted(features.items())
        if name not in _TEXT
    )


def joined(
    rows: Sequence[Features], dtype: torch.dtype, pad_id: int, *, left: bool = False
) -> Features:
    """Features of equal :func:`shapes` one behind the other, texts filled up to the longest."""
    return {
        name: _padded([row[name] for row in rows], pad_id if name == "input_ids" else 0, left=left)
        if name in _TEXT
        else _cast(torch.cat([row[name] for row in rows]), dtype)
        for name in rows[0]
    }


def _cast(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _padded(rows: Sequence[torch.Tensor], filling: int, *, left: bool) -> torch.Tensor:
    """Rows of shape (1, length, ...), each filled up on one side."""
    width = max(row.shape[1] for row in rows)
    padded = []
    for row in rows:
        gap = row.new_full((1, width - row.shape[1], *row.shape[2:]), filling)
        padded.append(torch.cat([gap, row] if left else [row, gap], dim=1))
    return torch.cat(padded)
