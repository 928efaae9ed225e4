"""Rotary embeddings that are others for all texts of a call as soon as one of them is long."""

from __future__ import annotations

import sys
from typing import Any

_CHANGING = {"dynamic", "longrope"}  # transformers' modeling_rope_utils.dynamic_rope_update


def changes(module: Any) -> bool:
    """Whether a module's rotations are such; it has one kind, or one for each kind of layer."""
    kind = getattr(module, "rope_type", None)
    kinds = kind.values() if isinstance(kind, dict) else [kind]
    return any(one in _CHANGING for one in kinds)


def longest(model: Any) -> int | None:
    """How many tokens a text may have that changes nothing for others; None where none does."""
    return min((_length(one) for one in model.modules() if changes(one)), default=None)


def _length(module: Any) -> int:
    parameters = getattr(getattr(module, "config", None), "rope_parameters", None) or {}
    told = [parameters, *(one for one in parameters.values() if isinstance(one, dict))]
    lengths = (one.get("original_max_position_embeddings") for one in told)
    own = getattr(module, "original_max_seq_len", None)
    return min((one for one in (*lengths, own) if one), default=sys.maxsize)
