"""What the tasks on a transformers model share: loading, inference mode, the window."""

from __future__ import annotations

import inspect
import logging
import time
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import torch

from modeldeploy.schema.computing import Optimize
from modeldeploy.schema.graph import Form, GraphNote, Runtime, StoredGraph
from modeldeploy.worker.adapter import (
    Adapter,
    Inputs,
    Item,
    ModelInfo,
    Parameters,
    Source,
)
from modeldeploy.worker.compute import packing, reentrancy
from modeldeploy.worker.compute.graphs import AnyGraph, Graph, original
from modeldeploy.worker.compute.unpadded import restore_padding
from modeldeploy.worker.loading import checkpoint
from modeldeploy.worker.loading.devices import dtype_name

log = logging.getLogger(__name__)

_ON_GPU = 16


class ModelAdapter(Adapter[Inputs, Parameters]):
    """A task on one model. ``model`` and ``config`` are transformers' own."""

    # Parts of a checkpoint's class that this task does not read: they may be missing.
    unused_weights: ClassVar[tuple[str, ...]] = ()
    # Tokens of the calls that are to be fast.
    typical_rows: ClassVar[tuple[int, ...]] = (16, 128)
    # Whether a graph may stand for the model, or for its step, and what may run it.
    exports: bool = False
    steps: ClassVar[bool] = False  # it is of a step that they are
    runtimes: ClassVar[tuple[Runtime, ...]] = ("onnx", "openvino")
    model: Any
    config: Any

    def __init__(self) -> None:
        self.runs: dict[str, str] = {}
        # Hears of every call of ``core``, and how many seconds it took.
        self.on_call: Callable[[list[Item], float], None] | None = None
        self.graph: AnyGraph | None = None
        self._kept: Path | None = None  # where what is found of models is kept

    def load(self, source: Source) -> None:
        self.config = checkpoint.read_config(source)
        self.model = checkpoint.load_model(
            source, self.auto_class(source), self.config, self.unused_weights
        )
        self.config = self.model.config
        self.threads = source.threads
        self._kept = source.kept
        self.accepted = frozenset(inspect.signature(self.model.forward).parameters)
        if self.device.type != "cpu":
            items, size = self.batch.items * 2, self.batch.size * _ON_GPU
            self.batch = replace(self.batch, items=items, size=size)

    def auto_class(self, source: Source) -> str:
        """The class that loads the model; ``config`` is known by now."""
        return source.task.auto_class

    def settle(self, *, optimize: Optimize, graph: StoredGraph | None = None) -> None:
        opened = self._opened(graph) if graph else None
        faster = optimize != "no"
        self.arrange(optimize=faster, layout=graph.note.layout if graph and opened else "")
        if opened:
            self.run_on(opened)
        elif faster:
            self.runs.pop("weights", None)
            self.pack()

    def pack(self) -> None:
        """Lay those weights out for this CPU that are not yet, if it is one and it pays."""
        if self.device.type != "cpu":
            return
        if count := packing.pack(self.model, self.typical_rows, self._kept):
            self.runs["weights"] = f"packed by oneDNN ({count} layers)"

    @property
    def predicts_less(self) -> bool:
        """Whether predictions are made in a lower precision now."""
        return self.graph is not None and self.graph.stored.form.precision != "float32"

    def _opened(self, graph: StoredGraph) -> AnyGraph | None:
        try:
            opened = self.graph_of(graph)
            if self.is_like(opened):
                return opened
            log.warning("the graph in %s gives other results than the model", graph.folder)
            return None
        except Exception:  # ONNX Runtime raises what it likes on files that it cannot read
            log.warning("the graph in %s cannot be opened", graph.folder, exc_info=True)
            return None

    def approximate(self) -> None:
        if not self.exports:  # else a graph may compute in less, or the weights do by now
            self.runs["precision"] = (
                "as it was: there is nothing faster of a lower one for this task"
            )

    def unsettle(self) -> None:
        self.run_on(None)
        packing.unpack(self.model)
        restore_padding(self.model.base_model)
        self.runs["weights"] = "plain: made faster, they gave other results"

    def arrange(self, *, optimize: bool, layout: str = "") -> None:
        """How items share a call; ``layout`` is what :attr:`layout` once was, where it is known."""

    @property
    def layout(self) -> str:
        """How items share a call, in a word."""
        return ""

    @property
    def graphed(self) -> Any:
        """The module that a graph may stand for."""
        return self.model

    @property
    def holder(self) -> Any:
        """Whose ``forward`` the graph takes the place of: the module, or what stands before it."""
        return self.graphed

    def graph_of(self, stored: StoredGraph) -> AnyGraph:
        """The stored graph, opened. Raises whatever its runtime does on files that it cannot read."""
        return Graph(self.graphed, stored, self.threads)

    def is_like(self, graph: Any) -> bool:
        """Whether an opened graph gives what the model gives, where that is not seen by a prediction."""
        return True

    def make_graph(self, items: list[Item], folder: Path, form: Form, threads: int) -> GraphNote:
        """A graph of the model in the folder; ``items`` are an example's.

        Raises:
            NotExportable: with one line of cause.
        """
        from modeldeploy.worker.compute import (
            export,  # with torch's exporter, of which few have need
        )

        self.arrange(optimize=True)
        with export.recorded(self.holder, self.graphed) as calls:
            self.exercise(items)
        note = export.export(self.graphed, calls, folder, form, threads)
        return msgspec.structs.replace(note, layout=self.layout)

    def run_on(self, graph: AnyGraph | None) -> None:
        """From now on on the graph, or on torch. Not while a call runs."""
        if graph:
            graph.use_threads(self.threads)
        self.stand_in(graph)
        self.graph = graph

    def stand_in(self, graph: Any) -> None:
        """Have the graph stand for what it was made of, or torch."""
        self.holder.forward = graph or original(self.graphed)

    def exercise(self, items: list[Item]) -> None:
        """Calls of :attr:`graphed` of several sizes; ``items`` are an example's."""
        for count in (2, 3, 1):
            self.core(items[:1] * count)

    @property
    def device(self) -> torch.device:
        found: torch.device = self.model.device
        return found

    def use_threads(self, count: int) -> None:
        self.threads = count
        self.take_threads(count)
        if self.graph:
            self.graph.use_threads(count)

    def take_threads(self, count: int) -> None:
        torch.set_num_threads(count)

    def runs_abreast(self, example: list[Item]) -> bool:
        if self.graph:
            return self.graph.session.shared
        if self.device.type != "cpu":
            return False

        def calls() -> None:
            for size in self.trials[:2]:
                self.trial(size, example)

        return reentrancy.leaves_as_is(self.model, calls)

    def core(self, items: list[Item]) -> list[Any]:
        begun = time.perf_counter()
        with torch.inference_mode():
            found = self.forward(items)
        if hear := self.on_call:  # another thread may end that meanwhile
            hear(items, time.perf_counter() - begun)
        return found

    @abstractmethod
    def forward(self, items: list[Item]) -> list[Any]:
        """``core``, in inference mode."""

    def call(self, **tensors: Any) -> Any:
        """The model's output for those of ``tensors`` that its ``forward`` knows."""
        return self.model(**arguments(tensors, self.accepted, self.device))

    def info(self) -> ModelInfo:
        return ModelInfo(
            device=str(self.device),
            dtype=dtype_name(self.model.dtype),
            parameters=sum(tensor.numel() for tensor in self.model.parameters()),
            max_input_length=self.max_input_length(),
            conversations=self.chat_template() is not None,
            runs=self.runs,
        )

    def chat_template(self) -> Any:
        """What makes prompts of conversations; None where the model knows none."""
        return None

    def max_input_length(self) -> int | None:
        """Tokens that one input may have; None where there is no such thing."""
        return None


def arguments(
    tensors: Mapping[str, torch.Tensor], accepted: Collection[str], device: torch.device
) -> dict[str, Any]:
    """Those that a ``forward`` which accepts such names takes, on its device."""
    found: dict[str, Any] = {
        name: tensor.to(device) for name, tensor in tensors.items() if name in accepted
    }
    if "use_cache" in accepted:
        found["use_cache"] = False
    return found
