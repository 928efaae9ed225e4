"""What the tasks on a transformers model share: loading, inference mode, the window."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from typing import Any, ClassVar

import torch

from modeldeploy.worker import checkpoint
from modeldeploy.worker.devices import dtype_name
from modeldeploy.worker.tasks.base import (
    Adapter,
    BatchLimits,
    Inputs,
    Item,
    ModelInfo,
    Parameters,
    Source,
)

_ON_GPU = 16


class ModelAdapter(Adapter[Inputs, Parameters]):
    """A task on one model. ``model`` and ``config`` are transformers' own."""

    # Parts of a checkpoint's class that this task does not read: they may be missing.
    unused_weights: ClassVar[tuple[str, ...]] = ()
    model: Any
    config: Any

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

    @property
    def device(self) -> torch.device:
        found: torch.device = self.model.device
        return found

    def core(self, items: list[Item]) -> list[Any]:
        with torch.inference_mode():
            return self.forward(items)

    @abstractmethod
    def forward(self, items: list[Item]) -> list[Any]:
        """``core``, in inference mode."""

    def call(self, **tensors: Any) -> Any:
        """The model's output for those of ``tensors`` that its ``forward`` knows."""
        known = {
            name: tensor.to(self.device)
            for name, tensor in tensors.items()
            if name in self.accepted
        }
        if "use_cache" in self.accepted:
            known["use_cache"] = False
        return self.model(**known)

    def info(self) -> ModelInfo:
        return ModelInfo(
            device=str(self.device),
            dtype=dtype_name(self.model.dtype),
            parameters=sum(tensor.numel() for tensor in self.model.parameters()),
            max_input_length=self.max_input_length(),
            conversations=self.chat_template() is not None,
        )

    def chat_template(self) -> Any:
        """What makes prompts of conversations; None where the model knows none."""
        return None

    def max_input_length(self) -> int | None:
        """Tokens that one input may have; None where there is no such thing."""
        return None
