"""Linear layers on weights that oneDNN has laid out for this CPU: the same numbers, in half the time
for most models.

The operators are torch's own, but private (torch ``aten/src/ATen/native/mkldnn/Linear.cpp``): each
layer is compared with what it was, and stays as it was where it differs or the operators are gone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch.nn import Linear, Parameter

from modeldeploy.worker.compute import timing, verdicts
from modeldeploy.worker.compute.likeness import gap

_OPS: Any = torch.ops.mkldnn
_ROWS = 3  # of the comparison
_WORTH = 1.1  # the product of how many times faster each size of call must be
# Largest difference over the outputs' standard deviation.
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.05}


class Packed:
    """A layer's ``forward`` on packed weights."""

    def __init__(self, layer: Linear) -> None:
        self._weight = _OPS._reorder_linear_weight(  # noqa: SLF001  # there is no public one
            layer.weight.detach(), None
        )
        self._bias = layer.bias

    def __call__(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  # Linear's own name
        found: torch.Tensor = _OPS._linear_pointwise(  # noqa: SLF001  # as above
            input, self._weight, self._bias, "none", [], ""
        )
        return found

    def dense(self) -> torch.Tensor:
        """The weights as they were."""
        found: torch.Tensor = self._weight.to_dense()
        return found


class Gone(Parameter):
    """Stands for a weight whose values are packed: its shape and its kind are known, and whoever
    reads more of it is told that there is no more, instead of getting wrong numbers."""

    @classmethod
    def like(cls, weight: torch.Tensor) -> Gone:
        nothing = torch.empty(1, dtype=weight.dtype).expand(weight.shape)
        return cls(nothing, requires_grad=False)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        owner = getattr(func, "__self__", None)
        name = getattr(owner if func.__name__ == "__get__" else func, "__name__", "")
        if name not in _KNOWN:
            raise RuntimeError(f"{name} of a weight that is packed")
        return super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call]  # torch's own is not typed


_KNOWN = frozenset(
    {"shape", "dtype", "device", "layout", "ndim", "is_cuda", "is_mps", "is_meta", "is_sparse"}
    | {"is_quantized", "is_leaf", "requires_grad", "grad", "grad_fn", "names", "itemsize", "nbytes"}
    | {
        "size",
        "dim",
        "numel",
        "nelement",
        "element_size",
        "stride",
        "storage_offset",
        "untyped_storage",
    }
    | {"is_floating_point", "is_complex", "is_contiguous", "is_inference", "__len__", "__hash__"}
)


def pack(model: torch.nn.Module, rows: Sequence[int], kept: Path | None = None) -> int:
    """Pack the linear layers of a model on the CPU if that makes calls of so many ``rows`` faster (what
    one of these sizes gains may make up for what another loses), which may be known of the folder
    ``kept``; how many are packed now. The weights' plain copy is dropped, unless another module (an
    embedding) has them too."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]  # as above
        return 0
    layers = [one for one in model.modules() if _fits(one)]
    if not layers:
        return 0
    with torch.inference_mode():
        pays = verdicts.pays(kept, layers, rows, lambda: _is_faster(layers, rows))
        return sum(map(_pack_one, layers)) if pays else 0


def unpack(model: torch.nn.Module) -> None:
    """Put the plain layers back."""
    for layer in model.modules():
        packed = vars(layer).get("forward")
        if isinstance(packed, Packed):
            layer.weight = Parameter(packed.dense(), requires_grad=False)
            del layer.forward


def _fits(layer: torch.nn.Module) -> TypeGuard[Linear]:
    # The exact class: what is made of it may read its weight in ways of its own.
    if type(layer) is not Linear or "forward" in vars(layer):
        return False
    return layer.weight.dtype in _TOLERANCE and layer.weight.device.type == "cpu"


def _pack_one(layer: Linear) -> bool:
    packed = _packed(layer)
    if packed is None or not _equal(layer, packed):
        return False
    layer.weight = Gone.like(layer.weight)
    layer.forward = packed  # type: ignore[method-assign]  # the module's own place for it
    return True


def _packed(layer: Linear) -> Packed | None:
    """None: not on this CPU, or not in this torch."""
    try:
        packed = Packed(layer)
        packed(torch.zeros(1, layer.in_features, dtype=layer.weight.dtype))
    except (RuntimeError, AttributeError):
        return None
    return packed


def _is_faster(layers: Sequence[Linear], rows: Sequence[int]) -> bool | None:
    """None: there is nothing to compare."""
    pairs = [(one, found) for one in timing.sample(layers) if (found := _packed(one))]
    if not pairs:
        return None
    plain, packed = zip(*pairs, strict=True)
    return timing.exceeds(plain, plain, packed, rows, _WORTH)


def _equal(layer: Linear, packed: Callable[[torch.Tensor], Any]) -> bool:
    rows = torch.linspace(-1, 1, _ROWS * layer.in_features).reshape(_ROWS, -1)
    rows = torch.sin(rows * 37).to(layer.weight.dtype)
    return gap([layer(rows)], [packed(rows)]) <= _TOLERANCE[layer.weight.dtype]
