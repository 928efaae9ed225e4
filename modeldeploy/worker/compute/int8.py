"""Linear layers on weights of eight bits, for calls of few rows: writing a token reads every weight once,
and a quarter of the bytes come from memory in a quarter of the time.

Each row of a weight matrix has a scale of its own, sums are made in bfloat16's precision. The operator
is torch's own, but private (torch ``aten/src/ATen/native/LinearAlgebra.cpp``): each layer is compared with
its own rounded weights. Calls of more rows, such as prompts, take the layer as it was.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence

import torch
from torch.nn import Linear

from modeldeploy.worker.compute import packing, timing
from modeldeploy.worker.compute.likeness import gap
from modeldeploy.worker.compute.timing import Forward

_MOST = 127
_WORTH = 1.1  # times the speed it was
_TOLERANCE = 0.05  # of a layer's outputs' spread, against the rounded weights in float32


class Rounded:
    """A layer's ``forward``: on int8 weights for at most ``most_rows`` rows, else ``plain``."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, plain: Forward) -> None:
        self._outputs, self._inputs = weight.shape
        self._bias = bias
        self.plain = plain
        self.most_rows = 0
        scales = (weight.float().abs().amax(dim=1) / _MOST).clamp(min=1e-12).bfloat16()
        self._scales = scales
        exact = weight.float() / scales.float()[:, None]
        self._weight = exact.round_().clamp_(-_MOST - 1, _MOST).to(torch.int8)

    def __call__(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  # Linear's own name
        rows = input.numel() // self._inputs
        if rows > self.most_rows:
            found: torch.Tensor = self.plain(input)
            return found
        return self.quick(input)

    def quick(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  # as above
        """On the int8 weights, whatever the rows are."""
        flat = input.reshape(-1, self._inputs).bfloat16()
        found: torch.Tensor = torch._weight_int8pack_mm(flat, self._weight, self._scales)  # noqa: SLF001  # there is no public one
        found = found.to(input.dtype).view(*input.shape[:-1], self._outputs)
        return found if self._bias is None else found + self._bias

    def is_right(self) -> bool:
        """Whether this CPU's kernel computes what the rounded weights say."""
        given = torch.sin(torch.linspace(-37, 37, 2 * self._inputs)).reshape(2, -1)
        expected = given @ (self._weight.float() * self._scales.float()[:, None]).T
        bias, self._bias = self._bias, None
        try:
            return gap([expected], [self.quick(given)]) <= _TOLERANCE
        except (RuntimeError, AttributeError):  # not on this CPU, or not in this torch
            return False
        finally:
            self._bias = bias


def round_weights(model: torch.nn.Module, rows: Sequence[int]) -> int:
    """Give the linear layers of a model on the CPU int8 weights for calls of up to the largest of
    ``rows`` that is faster so; that number, 0 where none is and nothing was changed."""
    layers = [one for one in model.modules() if type(one) is Linear]
    if not layers or not all(_fits(one.weight) for one in layers):
        return 0
    with torch.inference_mode():
        most = _most_rows(layers, rows)
        for layer in layers if most else ():
            rounded = _rounded(layer)
            rounded.most_rows = most if rounded.is_right() else 0
            layer.forward = rounded  # type: ignore[method-assign]  # the module's own place for it
    return most


@contextlib.contextmanager
def always(model: torch.nn.Module) -> Iterator[None]:
    """For now, on int8 weights however many rows a call has."""
    rounded = [one for layer in model.modules() if (one := _of(layer))]
    before = [one.most_rows for one in rounded]
    for one in rounded:
        one.most_rows = sys.maxsize if one.most_rows else 0
    try:
        yield
    finally:
        for one, most in zip(rounded, before, strict=True):
            one.most_rows = most


def restore(model: torch.nn.Module) -> None:
    """Take the layers as they were."""
    for layer in model.modules():
        if rounded := _of(layer):
            layer.forward = rounded.plain


def _of(layer: torch.nn.Module) -> Rounded | None:
    found = vars(layer).get("forward")
    return found if isinstance(found, Rounded) else None


def _fits(weight: torch.Tensor) -> bool:
    return weight.device.type == "cpu" and weight.dtype in (torch.float32, torch.bfloat16)


def _rounded(layer: Linear) -> Rounded:
    packed = vars(layer).get("forward")
    weight = packed.dense() if isinstance(packed, packing.Packed) else layer.weight.detach()
    return Rounded(weight, layer.bias, layer.forward)


def _most_rows(layers: Sequence[Linear], rows: Sequence[int]) -> int:
    some = timing.sample(layers)
    rounded = [_rounded(layer) for layer in some]
    if not all(one.is_right() for one in rounded):
        return 0
    before, after = [layer.forward for layer in some], [one.quick for one in rounded]
    faster = [one for one in rows if timing.exceeds(some, before, after, (one,), _WORTH)]
    return max(faster, default=0)
