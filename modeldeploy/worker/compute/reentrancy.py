"""Whether threads may call a model at once: only if its calls leave it as it was.

Some keep what they made for the next call (angles of positions, an attention of another kind for short
texts), which another thread would find half changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from modeldeploy.worker.compute import rotations


def leaves_as_is(model: torch.nn.Module, calls: Callable[[], Any]) -> bool:
    """Whether no module has another attribute or buffer after ``calls`` of it."""
    if any(map(rotations.changes, model.modules())):
        return False
    before = _state(model)
    calls()
    after = _state(model)
    return all(
        old.keys() == new.keys() and all(old[name] is new[name] for name in old)
        for old, new in zip(before, after, strict=True)
    )


def _state(model: torch.nn.Module) -> list[dict[str, Any]]:
    """What each module holds, by name."""
    return [{**vars(one), **dict(one.named_buffers(recurse=False))} for one in model.modules()]
