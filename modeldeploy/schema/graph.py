"""A model's graph, as the process that makes it leaves it in the cache."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import Struct


class GraphNote(Struct, frozen=True, kw_only=True):
    """What is known of one model's graph: ``difference`` is the largest one to torch's results
    over their standard deviation; ``speed`` is torch's time over its own for the same calls (None:
    not yet measured); ``layout`` the adapter's layout of batches that it was made under; ``plain``
    the arguments that are no tensors; ``kind`` the class of the output, as module:name; ``refused``
    says why there is no graph."""

    layout: str = ""
    kind: str = ""
    outputs: tuple[str, ...] = ()
    plain: dict[str, Any] = {}
    difference: float = 0.0
    speed: float | None = None
    refused: str = ""


@dataclass(frozen=True)
class StoredGraph:
    """A graph in a folder of the cache."""

    folder: Path
    note: GraphNote
