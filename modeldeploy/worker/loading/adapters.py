"""Adapters (PEFT) merged into their base model: then it is a model like any other."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open

from modeldeploy import extras
from modeldeploy.errors import ModelError, UnsafeWeights, UnsupportedModel
from modeldeploy.worker.loading.model_errors import typed_errors

CONFIG = "adapter_config.json"
_WEIGHTS, _PICKLED = "adapter_model.safetensors", "adapter_model.bin"
_PREFIX = "base_model.model."
_HEADS = ("score.weight", "classifier.weight", "classifier.out_proj.weight", "qa_outputs.weight")


@dataclass(frozen=True)
class AdapterFiles:
    """An adapter in its directory. ``heads`` are the whole tensors that it brings, by the names
    they have in the model, with their numbers of rows; ``task_type`` is peft's name of what it was
    trained for."""

    folder: Path
    heads: dict[str, int]
    task_type: str | None = None

    @property
    def labels(self) -> int | None:
        """The number of labels of the head that it brings; None if it brings none."""
        found = (self.heads.get(name) for name in _HEADS)
        return next((rows for rows in found if rows), None)

    def fit(self, config: Any) -> None:
        """Make ``config`` one of a model with the adapter's own head."""
        if self.labels is not None and self.labels != getattr(config, "num_labels", None):
            config.num_labels = self.labels

    def merged(self, model: Any) -> Any:
        """``model`` with the adapter's changes in its weights.

        Raises:
            UnsupportedModel: it cannot be merged. ModelError: it does not belong to this model.
        """
        from peft import PeftModel

        with typed_errors("the adapter"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning)  # peft's use of transformers
            warnings.filterwarnings("error", message="Found missing adapter keys")
            adapted = PeftModel.from_pretrained(model, str(self.folder), is_trainable=False)
            if not hasattr(adapted, "merge_and_unload"):
                raise UnsupportedModel("it is an adapter of a kind that cannot be merged")
            return adapted.merge_and_unload(safe_merge=True)


def read(folder: Path, *, allow_pickle: bool) -> AdapterFiles:
    """
    Raises:
        UnsupportedModel: the package peft is not installed. UnsafeWeights: it is pickled.
        ModelError: it is damaged.
    """
    extras.require("peft", "an adapter")
    task_type = _task_type(folder)
    file = folder / _WEIGHTS
    if file.exists():
        with typed_errors("the adapter"), safe_open(file, "np") as tensors:
            return AdapterFiles(folder, dict(_whole(tensors)), task_type)
    if not allow_pickle:
        raise UnsafeWeights(
            "the adapter's weights are not in safetensors format",
            hint="if you trust its pickle file, deploy with --allow-pickle",
        )
    if not (folder / _PICKLED).exists():
        raise ModelError(f"there is no {_WEIGHTS}")
    return AdapterFiles(folder, {}, task_type)


def _task_type(folder: Path) -> str | None:
    with typed_errors(CONFIG):
        found = json.loads((folder / CONFIG).read_bytes()).get("task_type")
    return found if isinstance(found, str) else None


def _whole(tensors: Any) -> list[tuple[str, int]]:
    """Tensors that replace the model's (``modules_to_save``): they bear the names of its own."""
    return [
        (name.removeprefix(_PREFIX), tensors.get_slice(name).get_shape()[0])
        for name in tensors.keys()  # noqa: SIM118 - a file of safetensors is no dict
        if name.startswith(_PREFIX) and ".lora_" not in name and tensors.get_slice(name).get_shape()
    ]
