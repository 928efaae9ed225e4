"""A decoder's step as an ONNX graph: some tokens of each row and the keys and values before them in,
the logits behind the last out.

The model is traced with an attention of ours in place of its own: ONNX Runtime's
``GroupQueryAttention``, which writes the new keys and values behind those of each row, in place, and
reads no further than a row is long (onnxruntime ``docs/ContribOperators.md``). So rows of one step have
lengths of their own, and none is padded.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from msgspec.structs import replace

from modeldeploy.schema.graph import Form, GraphNote, StoredGraph
from modeldeploy.worker.compute import export, quantizing
from modeldeploy.worker.compute.export import NotExportable
from modeldeploy.worker.generation import fusing, own_attention, shortening
from modeldeploy.worker.generation.graph_slab import (
    FEW,
    allowed,
    difference,
    looks_back_as_far,
)
from modeldeploy.worker.generation.slab import Unfit, takes
from modeldeploy.worker.generation.step_graph import INPUTS, LOGITS, StepGraph, cache_names

_OPERATOR = "com.microsoft::GroupQueryAttention"
_OPSET = 20
_EXAMPLE = (2, 3, 64)  # rows, tokens, columns of the traced call


def make(model: Any, folder: Path, form: Form, threads: int, ids: Sequence[int]) -> GraphNote:
    """Put the graph of the model's step into the folder; what is known of it. ``ids`` are a text's.

    Raises:
        NotExportable: its attention is of another kind, torch cannot trace it, or its results would
            not be equal.
    """
    with export.all_or_nothing(folder):
        file = export.traced(folder, form)
        windows = _trace(model, _shapes(model), file, form)
        note = GraphNote()
        if form.precision == "int8":
            note = GraphNote(unit="nats a token")
            quantizing.round_weights(file)
        export.optimise(folder, threads)
        graph = StepGraph(StoredGraph(folder, note, form), threads)
        found = difference(model, graph, ids)
        if not graph.is_exact:  # when it is opened it is tried on the text's beginning alone
            found = max(found, difference(model, graph, ids[:FEW]))
        if not found <= allowed(graph):
            raise NotExportable(f"its results would differ by {found:.1e} {note.unit}")
        if graph.is_exact and not looks_back_as_far(model, graph, windows):
            raise NotExportable("its attention would look back too far, or not far enough")
        return replace(note, difference=found)


def _shapes(model: Any) -> list[tuple[int, int]]:
    try:
        return own_attention.shapes(model)
    except Unfit as error:
        raise NotExportable(str(error)) from error


def _trace(model: Any, shapes: Sequence[tuple[int, int]], file: Path, form: Form) -> set[int]:
    """Write the graph; how far back its layers look, 0 for to the beginning."""
    rows, count, columns = _EXAMPLE
    step = _Step(model, len(shapes)).eval()
    caches = [torch.zeros(rows, heads, columns, width) for heads, width in shapes for _ in range(2)]
    given = (
        torch.ones(rows, count, dtype=torch.long),
        torch.arange(count).expand(rows, -1).contiguous(),
        torch.full((rows,), count - 1, dtype=torch.int32),
        torch.tensor(count, dtype=torch.int32),
        caches,
    )
    free = torch.export.Dim.DYNAMIC
    sizes = [{0: free, 2: free} for _ in caches]
    ours = own_attention.in_place(model, _attend)
    with ours, fusing.fused(model), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            step,
            given,
            input_names=[*INPUTS, *cache_names(len(shapes))],
            output_names=[LOGITS, *(f"new.{name}" for name in cache_names(len(shapes)))],
            dynamo=True,
            opset_version=_OPSET,
            dynamic_shapes=({0: free, 1: free}, {0: free, 1: free}, {0: free}, {}, sizes),
            verbose=False,
        )
    assert program is not None
    shortening.shorten(program.model.graph)
    if form.precision == "int8":  # where weights come fast, waking threads is what counts
        shortening.join_products(program.model.graph)
    program.save(str(file), external_data=True)
    return step.windows


class _Step(torch.nn.Module):
    """The model as the exporter wants it. ``now`` is the call that is being traced."""

    now: _Step

    def __init__(self, model: Any, layers: int) -> None:
        super().__init__()
        self.model = model
        self._layers = layers
        self.windows: set[int] = set()
        self._short = {"logits_to_keep": 1} if takes(model, "logits_to_keep") else {}

    def forward(
        self, tokens: Any, positions: Any, last: Any, longest: Any, caches: list[torch.Tensor]
    ) -> list[torch.Tensor]:
        _Step.now = self
        self.last, self.longest, self.caches = last, longest, caches
        self.new: dict[int, Sequence[torch.Tensor]] = {}
        output = self.model(
            input_ids=tokens, position_ids=positions, use_cache=False, **self._short
        )
        if len(self.new) != self._layers:
            raise NotExportable("its attention is of its own kind")
        new = [tensor for layer in range(self._layers) for tensor in self.new[layer]]
        return [output.logits[:, -1], *new]


def _attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,  # transformers names what it gives
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    step, layer = _Step.now, module.layer_idx
    rows, heads, count, width = query.shape
    window = own_attention.window(attention_mask, sliding_window)
    step.windows.add(window)
    given = [_flat(query), _flat(key), _flat(value), *step.caches[2 * layer : 2 * layer + 2]]
    given += [step.last, step.longest]
    if s_aux is not None:
        raise NotExportable("its attention has sinks")
    output, *new = torch.onnx.ops.symbolic_multi_out(
        _OPERATOR,
        given,
        {
            "num_heads": heads,
            "kv_num_heads": key.shape[1],
            "scale": float(width**-0.5 if scaling is None else scaling),
            "local_window_size": window or -1,
            "softcap": float(softcap or 0.0),
            "do_rotary": 0,
        },
        dtypes=[query.dtype] * 3,
        shapes=[[rows, count, heads * width], *(one.shape for one in given[3:5])],
        version=1,
    )
    step.new[layer] = new
    return output.reshape(rows, count, heads, width), None


def _flat(tensor: torch.Tensor) -> torch.Tensor:
    """(rows, heads, tokens, width) as (rows, tokens, heads * width)."""
    rows, _, count, _ = tensor.shape
    return tensor.transpose(1, 2).reshape(rows, count, -1)
