"""A model's graph outside of torch: it stands for ``forward`` of a module, and runs in ONNX Runtime.

A call that the graph was not made for (other inputs, other sizes where a size is fixed) is torch's,
as before. ONNX Runtime's threads do not spin: two deployments on the same cores would starve each
other.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers.utils import ModelOutput

from modeldeploy.schema.graph import GraphNote, StoredGraph

Arrays = dict[str, npt.NDArray[Any]]
Dimensions = tuple[int | None, ...]  # None: of any size

FILE, WEIGHTS = "graph.onnx", "weights.bin"


def words(note: GraphNote, worth: float) -> str:
    """How the model runs, with the note's graph or without, for ``/info``."""
    if note.refused:
        return f"torch: no graph: {note.refused}"
    if (note.speed or 0.0) < worth:
        return f"torch: {runtime()} would run at {note.speed:.2f} times its speed"
    equal = f"equal to {note.difference:.0e} of their spread"
    return f"{runtime()}, {note.speed:.1f} times torch's speed, results {equal}"


def runtime() -> str:
    """What runs graphs here."""
    return f"ONNX Runtime {metadata.version('onnxruntime')}"


class OnnxSession:
    """In ONNX Runtime, already optimised for this CPU: its weights are mapped from the file. ``inputs``
    are the names and sizes that it takes."""

    def __init__(self, folder: Path, threads: int) -> None:
        import onnxruntime

        self.threads = threads
        options = session_options(threads)
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._session = onnxruntime.InferenceSession(
            str(folder / FILE), options, providers=["CPUExecutionProvider"]
        )
        self.inputs: dict[str, Dimensions] = {
            one.name: _dimensions(one.shape) for one in self._session.get_inputs()
        }

    def run(self, given: Arrays) -> list[npt.NDArray[Any]]:
        found: list[npt.NDArray[Any]] = self._session.run(None, given)
        return found


def session_options(threads: int) -> Any:
    """ONNX Runtime's, with so many threads that wait without spinning."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _dimensions(shape: list[Any]) -> Dimensions:
    return tuple(size if isinstance(size, int) else None for size in shape)


class Graph:
    """A stored graph that stands for ``forward`` of ``module``."""

    def __init__(self, module: Any, stored: StoredGraph, threads: int) -> None:
        self._folder, self._note = stored.folder, stored.note
        self.session = OnnxSession(self._folder, threads)
        self._kind = _kind(self._note.kind)
        self._torch: Callable[..., Any] = original(module)
        self._signature = inspect.signature(self._torch)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        tensors, plain = sorted_out(self._signature, args, kwargs)
        if plain != self._note.plain or not self._takes(tensors):
            return self._torch(*args, **kwargs)
        found = self.session.run({name: tensor.numpy() for name, tensor in tensors.items()})
        outputs = zip(self._note.outputs, map(_tensor, found), strict=True)
        return self._kind(**dict(outputs))

    def use_threads(self, count: int) -> None:
        """Compute with so many from now on. Not while a call runs."""
        if count != self.session.threads:
            self.session = OnnxSession(self._folder, count)

    def _takes(self, tensors: Mapping[str, torch.Tensor]) -> bool:
        inputs = self.session.inputs
        return tensors.keys() == inputs.keys() and all(
            len(tensor.shape) == len(inputs[name])
            and all(
                size is None or size == own
                for own, size in zip(tensor.shape, inputs[name], strict=True)
            )
            for name, tensor in tensors.items()
        )


def kind_of(output: Any) -> str:
    """Its class, by a name that :class:`Graph` finds it by."""
    return f"{type(output).__module__}:{type(output).__qualname__}"


def _kind(name: str) -> type[ModelOutput]:
    module, _, attribute = name.partition(":")
    found: type[ModelOutput] = getattr(importlib.import_module(module), attribute)
    assert issubclass(found, ModelOutput)
    return found


def _tensor(array: npt.NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))


def original(module: Any) -> Callable[..., Any]:
    """``forward`` as the module's class has it, whatever stands in its place now."""
    found: Callable[..., Any] = type(module).forward.__get__(module)
    return found


def sorted_out(
    signature: inspect.Signature, args: Any, kwargs: Any
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The arguments of a call by their names: tensors, and what is no tensor and not None."""
    bound = signature.bind(*args, **kwargs).arguments
    for name, parameter in signature.parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            bound.update(bound.pop(name, {}))
    tensors = {name: one for name, one in bound.items() if isinstance(one, torch.Tensor)}
    plain = {name: one for name, one in bound.items() if name not in tensors and one is not None}
    return tensors, plain
