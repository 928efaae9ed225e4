"""A model's graph outside of torch: it stands for ``forward`` of a module.

A call that the graph was not made for (other inputs, other sizes where a size is fixed) is torch's,
as before.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from transformers.utils import ModelOutput

from modeldeploy.schema.graph import StoredGraph
from modeldeploy.worker.compute import sessions

log = logging.getLogger(__name__)

_MOST_WEIGHTS = 64 * 1024**2  # bytes that a layer's attention may take
_HEADS = 12  # where the config does not tell


class AnyGraph(Protocol):
    """An opened graph, whatever of its model it stands for."""

    stored: StoredGraph

    @property
    def session(self) -> sessions.Session:
        """What runs it now."""

    def use_threads(self, count: int) -> None:
        """Compute with so many from now on. Not while a call runs."""


class Graph:
    """A stored graph that stands for ``forward`` of ``module``."""

    def __init__(self, module: Any, stored: StoredGraph, threads: int) -> None:
        self.stored, self._note = stored, stored.note
        self.session = self._opened(threads)
        self._single: sessions.Session | None = None
        self._own = threading.local()
        self._lock = threading.Lock()
        self._kind = _kind(self._note.kind)
        self._torch: Callable[..., Any] = original(module)
        self._signature = inspect.signature(self._torch)
        self._config = getattr(module, "config", None)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        tensors, plain = sorted_out(self._signature, args, kwargs)
        if plain != self._note.plain or not self._takes(tensors) or self._is_long(tensors):
            return self._torch(*args, **kwargs)
        found = self._mine().run({name: tensor.numpy() for name, tensor in tensors.items()})
        outputs = zip(self._note.outputs, map(_tensor, found), strict=True)
        return self._kind(**dict(outputs))

    def use_threads(self, count: int) -> None:
        """Compute with so many from now on. Not while a call runs."""
        if count != self.session.threads:
            self.session = self._another(count)

    def _opened(self, threads: int) -> sessions.Session:
        return sessions.opened(self.stored.form, self.stored.folder, threads)

    def _another(self, threads: int) -> sessions.Session:
        """A session with so many threads, or the one there is where the files are gone."""
        try:
            return self._opened(threads)
        except Exception as error:  # the runtime raises what it likes
            log.warning("the graph runs on as it was opened, because it is gone: %s", error)
            return self.session

    def _mine(self) -> sessions.Session:
        """What the calling thread runs: where it takes fewer threads than the graph has, as one of
        several that call at once, a session with so many; one of a single thread serves them all."""
        count = torch.get_num_threads()
        if count >= self.session.threads:
            return self.session
        if count > 1:
            if getattr(self._own, "session", self.session).threads != count:
                self._own.session = self._another(count)
            own: sessions.Session = self._own.session
            return own
        with self._lock:
            self._single = self._single or self._another(1)
        return self._single

    def _is_long(self, tensors: Mapping[str, torch.Tensor]) -> bool:
        ids = tensors.get("input_ids")
        return ids is not None and is_long(self._config, *ids.shape[:2])

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


def is_long(config: Any, rows: int, width: int) -> bool:
    """Whether texts in so many rows are torch's: a graph computes how each token attends to each other as
    a whole, in memory by the square of a row's width that it keeps; torch does not, and is faster."""
    heads = getattr(config, "num_attention_heads", None)
    heads = heads if isinstance(heads, int) else _HEADS
    return rows * heads * width**2 * torch.float32.itemsize > _MOST_WEIGHTS


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
    bound = _bound(signature, args, kwargs) if args else kwargs
    tensors = {name: one for name, one in bound.items() if isinstance(one, torch.Tensor)}
    plain = {name: one for name, one in bound.items() if name not in tensors and one is not None}
    return tensors, plain


def _bound(signature: inspect.Signature, args: Any, kwargs: Any) -> dict[str, Any]:
    bound = signature.bind(*args, **kwargs).arguments
    for name, parameter in signature.parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            bound.update(bound.pop(name, {}))
    return bound
