"""From a module and calls of it to an ONNX graph in a folder, in the form that its runtime is to open,
compared with the module on those calls.

It takes seconds and several times the weights' memory: a process of its own runs it
(:mod:`modeldeploy.worker.exporter`).
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import shutil
import warnings
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from msgspec.structs import replace
from transformers.utils import ModelOutput

from modeldeploy.schema.graph import Form, GraphNote, StoredGraph
from modeldeploy.worker.compute import quantizing
from modeldeploy.worker.compute.graphs import Graph, kind_of, original, sorted_out
from modeldeploy.worker.compute.likeness import EQUAL, gap
from modeldeploy.worker.compute.sessions import FILE, WEIGHTS, session_options
from modeldeploy.worker.failures import one_line

log = logging.getLogger(__name__)

_OPSET = 23  # the first with attention as one operator
_UNOPTIMISED = "exported.onnx"
_LEAST_BYTES = 1024  # of a weight that is kept in a file of its own
# ONNX Runtime's one kernel for a sum and its layer norm takes 2.5 times as long on a CPU as sums and the
# norm: 5 to 15 % of an encoder with several tokens (docs/performance.md, "An encoder's graph").
_LEFT_APART = {"SkipLayerNormFusion"}
_ROOM = 1 << 20  # bytes: a disk with less is full


class NotExportable(Exception):
    """In one line: why there is no graph of this model."""


@dataclass(frozen=True)
class Call:
    """One call of a module, by the names of its arguments, and the tensors that it gave. ``kind`` is
    the class of its output, as :func:`~modeldeploy.worker.compute.graphs.kind_of` names it."""

    tensors: dict[str, torch.Tensor]
    plain: dict[str, Any]
    output: dict[str, torch.Tensor]
    kind: str


@contextlib.contextmanager
def recorded(holder: Any, module: Any) -> Iterator[list[Call]]:
    """The calls of ``module`` from now on, whose ``forward`` is an attribute of ``holder`` (the
    module itself, or what stands before it)."""
    calls: list[Call] = []
    forward, signature = original(module), inspect.signature(original(module))

    def record(*args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        calls.append(Call(*sorted_out(signature, args, kwargs), _tensors(output), kind_of(output)))
        return output

    holder.forward = record
    try:
        yield calls
    finally:
        holder.forward = forward


def export(module: Any, calls: Sequence[Call], folder: Path, form: Form, threads: int) -> GraphNote:
    """Put the graph into ``folder``; ``calls`` are of several sizes, more than one row among them.

    Raises:
        NotExportable: torch cannot trace it, or its results would not be equal.
    """
    with all_or_nothing(folder):
        _check(calls)
        return _export(module, calls, folder, form, threads)


@contextlib.contextmanager
def all_or_nothing(folder: Path) -> Iterator[None]:
    """Whatever goes wrong in the block ends as NotExportable and leaves the folder empty; but for a
    lack of memory or of room on the disk, and whatever else the system refuses, which says nothing of the
    model."""
    try:
        yield
    except Exception as error:  # torch's exporter and ONNX Runtime raise what they like
        is_passing = _is_the_systems(error) or shutil.disk_usage(folder).free < _ROOM
        for left in folder.iterdir():
            left.unlink()
        if is_passing or isinstance(error, NotExportable):
            raise
        log.info("no graph", exc_info=True)
        raise NotExportable(one_line(error)) from error


def _is_the_systems(error: BaseException | None) -> bool:
    """Whether it comes of what only the system can give."""
    while error:
        # Python's own tools raise an OSError without a number for sources that they do not find.
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno):
            return True
        if "can't allocate memory" in str(error):  # torch's words
            return True
        error = error.__cause__
    return False


def _check(calls: Sequence[Call]) -> None:
    if not calls:
        raise NotExportable("its predictions do not call the model as a whole")
    first = calls[0]
    if any(one.tensors.keys() != first.tensors.keys() for one in calls):
        raise NotExportable("its calls differ in what they are given")
    if not all(isinstance(one, bool | int | float | str) for one in first.plain.values()):
        raise NotExportable("its calls are given more than tensors")
    if not first.output:
        raise NotExportable("its output is not one of named tensors")


def _tensors(output: Any) -> dict[str, torch.Tensor]:
    """Those of a model's output: a copy, because whoever asked may change it."""
    if not isinstance(output, ModelOutput):
        return {}
    return {name: one for name, one in output.items() if isinstance(one, torch.Tensor)}


def _export(
    module: Any, calls: Sequence[Call], folder: Path, form: Form, threads: int
) -> GraphNote:
    names, outputs = tuple(calls[0].tensors), tuple(calls[0].output)
    whole = _Whole(module, names, outputs, calls[0].plain)
    # A size of 1 may be taken for one that never differs: the call with the fewest of them is traced.
    traced_call = max(calls, key=lambda call: sum(map(_sizes_above_one, call.tensors.values())))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            whole,
            tuple(traced_call.tensors[name] for name in names),
            input_names=names,
            output_names=outputs,
            dynamo=True,
            opset_version=_OPSET,
            dynamic_shapes=(tuple(_dynamic(name, calls) for name in names),),
            verbose=False,
        )
    assert program is not None
    plain = traced(folder, form)
    program.save(str(plain), external_data=True)
    del program
    if form.precision == "int8" and not quantizing.quantize(plain):
        raise NotExportable("nothing of it would be computed in int8")
    if form.runtime == "onnx":
        optimise(folder, threads, without=_LEFT_APART)
    note = GraphNote(outputs=outputs, plain=calls[0].plain, kind=calls[0].kind)
    graph = Graph(module, StoredGraph(folder, note, form), threads)
    difference = max(gap(list(one.output.values()), _again(graph, one)) for one in calls)
    if form.precision != "float32":  # whether it is close is seen on what comes
        return note
    if difference > EQUAL:
        raise NotExportable(f"its results would differ by {difference:.1e} of their spread")
    return replace(note, difference=difference)


def _sizes_above_one(tensor: torch.Tensor) -> int:
    return sum(size > 1 for size in tensor.shape)


def _again(graph: Graph, call: Call) -> list[torch.Tensor]:
    with torch.inference_mode():
        return list(_tensors(graph(**call.tensors, **call.plain)).values())


def _dynamic(name: str, calls: Sequence[Call]) -> dict[int, Any]:
    """The sizes of an input that differ from call to call."""
    shapes = {call.tensors[name].shape for call in calls}
    if len({len(shape) for shape in shapes}) > 1:
        raise NotExportable(f"{name} has now more, now fewer dimensions")
    sizes = zip(*shapes, strict=True)
    return {at: torch.export.Dim.DYNAMIC for at, found in enumerate(sizes) if len(set(found)) > 1}


class _Whole(torch.nn.Module):
    """The module as the exporter wants it: tensors in, tensors out, in order."""

    def __init__(
        self, module: Any, names: Sequence[str], outputs: Sequence[str], plain: dict[str, Any]
    ) -> None:
        super().__init__()
        self.module = module
        self._names, self._outputs, self._plain = names, outputs, plain

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = self.module(**dict(zip(self._names, tensors, strict=True)), **self._plain)
        return tuple(found[name] for name in self._outputs)


def traced(folder: Path, form: Form) -> Path:
    """Where in the folder what torch makes of a model is put."""
    return folder / (FILE if form.runtime == "openvino" else _UNOPTIMISED)


def optimise(folder: Path, threads: int, without: Collection[str] = ()) -> None:
    """Have ONNX Runtime write what it makes of the graph on this CPU, weights laid out and all, so
    that a worker maps it as it is; ``without`` these of its optimisers."""
    import onnxruntime

    options = session_options(threads)
    options.optimized_model_filepath = str(folder / FILE)
    for key, value in (
        ("session.optimized_model_external_initializers_file_name", WEIGHTS),
        ("session.optimized_model_external_initializers_min_size_in_bytes", str(_LEAST_BYTES)),
        ("session.save_external_prepacked_constant_initializers", "1"),
    ):
        options.add_session_config_entry(key, value)
    onnxruntime.InferenceSession(
        str(folder / _UNOPTIMISED),
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=set(without),
    )
    for left in folder.iterdir():
        if left.name not in {FILE, WEIGHTS}:
            left.unlink()
