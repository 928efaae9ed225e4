"""A decoder's step, run as a graph in ONNX Runtime on keys and values that stay where they are."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from modeldeploy.schema.graph import StoredGraph
from modeldeploy.worker.compute.sessions import OnnxSession, Session
from modeldeploy.worker.generation.room import Room
from modeldeploy.worker.generation.slab import fill

log = logging.getLogger(__name__)

# The inputs of the graph before the caches: tokens and their positions, (rows, tokens); the number of
# each row's last token, (rows); the longest row's length.
INPUTS = ("tokens", "positions", "last", "longest")
LOGITS = "logits"
_PART = 256  # tokens of a prompt that are read at once: attention may take memory for each pair
_KINDS = {torch.float32: np.float32, torch.int64: np.int64, torch.int32: np.int32}


def cache_names(layers: int) -> list[str]:
    return [f"{name}.{layer}" for layer in range(layers) for name in ("keys", "values")]


class StepGraph:
    """A stored graph of a step, as a :class:`~modeldeploy.worker.generation.graph_slab.Step`."""

    device, dtype = torch.device("cpu"), torch.float32
    grain: Room | None = None
    is_captured = False

    def __init__(self, stored: StoredGraph, threads: int) -> None:
        self.stored = stored
        self._sessions = {threads: OnnxSession(stored.folder, threads)}
        self._session = self._sessions[threads]
        sizes = self._session.inputs
        layers = sum(name.startswith("keys.") for name in sizes)
        self._names = cache_names(layers)
        shapes = [sizes[f"keys.{layer}"] for layer in range(layers)]
        self.shapes = [(heads or 0, width or 0) for _, heads, _, width in shapes]
        self._vocabulary = self._session.outputs[LOGITS][1] or 0
        self._bound: tuple[OnnxSession, Sequence[torch.Tensor], int, Any] | None = None

    @property
    def is_exact(self) -> bool:
        """Whether it gives what the model gives."""
        return self.stored.form.precision == "float32"

    @property
    def session(self) -> Session:
        """What runs it now."""
        return self._session

    def use_threads(self, count: int) -> None:
        """Compute with so many from now on, or as before where the files are gone. Not while a step
        runs. A session of each number is kept: they share the weights."""
        if count not in self._sessions:
            try:
                self._sessions[count] = OnnxSession(self.stored.folder, count)
            except Exception as error:  # ONNX Runtime raises what it likes
                log.warning("the graph runs on as it was opened, because it is gone: %s", error)
        self._session = self._sessions.get(count, self._session)

    def run(
        self, tokens: torch.Tensor, lengths: torch.Tensor, caches: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        rows, count = tokens.shape
        after = lengths + count
        binding = self._binding(caches, rows)
        inputs = (
            tokens,
            lengths[:, None] + torch.arange(count),
            (after - 1).int(),
            after.max().int(),
        )
        for name, tensor in zip(INPUTS, inputs, strict=True):
            binding.bind_input(name, *_place(tensor))
        logits = torch.empty(rows, self._vocabulary)
        binding.bind_output(LOGITS, *_place(logits))
        self._session.run_bound(binding)
        return logits

    def read(self, cache: Any, ids: list[int], done: int) -> torch.Tensor:
        made = []
        for layer, (heads, width) in zip(cache.layers, self.shapes, strict=True):
            grown = [torch.empty(1, heads, done + len(ids), width) for _ in range(2)]
            if done:
                for new, old in zip(grown, (layer.keys, layer.values), strict=True):
                    new[:, :, :done] = old
            fill(layer, *grown)  # now, so that one layer at a time is held twice
            made += grown
        for begun in range(0, len(ids), _PART):
            part = torch.tensor([ids[begun : begun + _PART]])
            logits = self.run(part, torch.tensor([done + begun]), made)
        return logits[0]

    def release(self) -> None:
        self._bound = None

    def _binding(self, caches: Sequence[torch.Tensor], rows: int) -> Any:
        """What binds so many rows of these caches, and has bound them before if they are the same
        list."""
        if self._bound and self._bound[0] is self._session and self._bound[1] is caches:
            _, _, bound_rows, binding = self._bound
            if bound_rows == rows:
                return binding
        binding = self._session.binding()
        for name, tensor in zip(self._names, caches, strict=True):
            own = tensor[:rows]  # contiguous, as the first of its rows are
            assert own.is_contiguous()
            binding.bind_input(name, *_place(own))
            binding.bind_output(f"new.{name}", *_place(own))
        self._bound = (self._session, caches, rows, binding)
        return binding


def _place(tensor: torch.Tensor) -> tuple[Any, ...]:
    """Where a tensor is, as ONNX Runtime is told it."""
    return "cpu", 0, _KINDS[tensor.dtype], tuple(tensor.shape), tensor.data_ptr()
