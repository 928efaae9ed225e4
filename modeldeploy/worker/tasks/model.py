"""What the tasks on a transformers model share: loading, inference mode, the window."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import torch

from modeldeploy.worker.adapter import (
    Adapter,
    BatchLimits,
    Inputs,
    Item,
    ModelInfo,
    Parameters,
    Source,
)
from modeldeploy.worker.compute import packing
from modeldeploy.worker.compute.unpadded import restore_padding
from modeldeploy.worker.loading import checkpoint
from modeldeploy.worker.loading.devices import dtype_name

_ON_GPU = 16


class ModelAdapter(Adapter[Inputs, Parameters]):
    """A task on one model. ``model`` and ``config`` are transformers' own."""

    # Parts of a checkpoint's class that this task does not read: they may be missing.
    unused_weights: ClassVar[tuple[str, ...]] = ()
    # Tokens of the calls that are to be fast.
    typical_rows: ClassVar[tuple[int, ...]] = (16, 128)
    model: Any
    config: Any

    def __init__(self) -> None:
        self.runs: dict[str, str] = {}

    def load(self, source: Source) -> None:
        self.config = checkpoint.read_config(source)
        self.model = checkpoint.load_model(
            source, self.auto_class(source), self.config, self.unused_weights
        )
        self.config = self.model.config
        self.accepted = frozenset(inspect.signature(self.model.forward).parameters)
        if self.device.type != "cpu":
            self.batch = BatchLimits(self.batch.items * 2, self.batch.size * _ON_GPU)

    def auto_class(self, source: Source) -> str:
        """The class that loads the model; ``config`` is known by now."""
        return source.task.auto_class

    def settle(self, *, optimize: bool) -> None:
        if (
            optimize
            and self.device.type == "cpu"
            and (count := packing.pack(self.model, self.typical_rows))
        ):
            self.runs["weights"] = f"packed by oneDNN ({count} layers)"

    def unsettle(self) -> None:
        packing.unpack(self.model)
        restore_padding(self.model.base_model)
        self.settle(optimize=False)
        self.runs["weights"] = "plain: packed, they gave other results"

    @property
    def device(self) -> torch.device:
        found: torch.device = self.model.device
        return found

    def use_threads(self, count: int) -> None:
        torch.set_num_threads(count)

    def core(self, items: list[Item]) -> list[Any]:
        with torch.inference_mode():
            return self.forward(items)

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
