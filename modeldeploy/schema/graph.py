"""A model's graph, as the process that makes it leaves it in the cache."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

Runtime = Literal["onnx", "openvino"]
Precision = Literal["float32", "int8", "bfloat16"]


class Form(Struct, frozen=True, array_like=True):
    """What a graph is made for. In float32 its results equal torch's; otherwise they are close."""

    runtime: Runtime
    precision: Precision = "float32"


class GraphNote(Struct, frozen=True, kw_only=True):
    """What is known of one model's graph: ``difference`` is how far its results are from torch's, as
    :mod:`modeldeploy.worker.compute.likeness` measures that for its form, or in another ``unit``;
    ``speed`` is torch's time over its own for the same calls (None: not yet measured); ``layout`` the
    adapter's layout of batches that it was made under; ``plain`` the arguments that are no tensors;
    ``kind`` the class of the output, as module:name; ``refused`` says why there is no graph."""

    layout: str = ""
    kind: str = ""
    outputs: tuple[str, ...] = ()
    plain: dict[str, Any] = {}
    difference: float = 0.0
    unit: str = "of their spread"
    speed: float | None = None
    refused: str = ""

    @property
    def is_judged(self) -> bool:
        """Whether it is known if the graph may be used."""
        return bool(self.refused) or self.speed is not None


@dataclass(frozen=True)
class StoredGraph:
    """A graph in a folder of the cache."""

    folder: Path
    note: GraphNote
    form: Form
