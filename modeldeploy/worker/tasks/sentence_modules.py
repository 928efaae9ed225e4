"""What follows the transformer in a sentence-transformers model: pooling, dense layers, length 1.

Read from ``modules.json`` and the folders that it names (``1_Pooling``, ``2_Dense``), as
sentence-transformers writes them (https://sbert.net). Nothing named there is imported.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from modeldeploy.errors import ModelError, UnsupportedModel
from modeldeploy.modelids import is_safe_name

_ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "Tanh": torch.tanh,
    "Identity": lambda x: x,
    "ReLU": torch.relu,
    "GELU": torch.nn.functional.gelu,
    "SiLU": torch.nn.functional.silu,
    "Sigmoid": torch.sigmoid,
}
# The flags of 1_Pooling/config.json, in the order in which their vectors are concatenated.
_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


@dataclass(frozen=True)
class Dense:
    weight: torch.Tensor
    bias: torch.Tensor | None
    activation: Callable[[torch.Tensor], torch.Tensor]

    def __call__(self, vectors: torch.Tensor) -> torch.Tensor:
        return self.activation(torch.nn.functional.linear(vectors, self.weight, self.bias))


@dataclass(frozen=True)
class SentenceModules:
    """``pooling`` is empty for a model that does not say how; ``prompts`` by their names."""

    pooling: tuple[str, ...] = ()
    include_prompt: bool = True
    dense: tuple[Dense, ...] = ()
    normalize: bool = False
    max_tokens: int | None = None
    lower_case: bool = False
    prompts: dict[str, str] = field(default_factory=dict)
    default_prompt: str | None = None


def read(folder: Path, device: torch.device) -> SentenceModules:
    """
    Raises:
        UnsupportedModel: a module is of a kind that we do not know. ModelError: a file is damaged, or
            would lie outside of the model's directory.
    """
    extras = _json(folder / "config_sentence_transformers.json")
    transformer = _json(folder / "sentence_bert_config.json")
    found: dict[str, Any] = {}
    dense: list[Dense] = []
    for module in _modules(folder):
        kind = str(module.get("type", "")).rpartition(".")[2]
        place = _place(folder, str(module.get("path", "")))
        if kind == "Pooling":
            config = _json(place / "config.json")
            found.update(
                pooling=_modes(config), include_prompt=bool(config.get("include_prompt", True))
            )
        elif kind == "Dense":
            dense.append(_dense(place, device))
        elif kind == "Normalize":
            found["normalize"] = True
        elif kind != "Transformer":
            raise UnsupportedModel(f"modules.json names a module of kind {kind!r}")
    longest = transformer.get("max_seq_length")
    return SentenceModules(
        dense=tuple(dense),
        max_tokens=longest if isinstance(longest, int) else None,
        lower_case=bool(transformer.get("do_lower_case")),
        prompts={str(k): str(v) for k, v in (extras.get("prompts") or {}).items()},
        default_prompt=extras.get("default_prompt_name"),
        **found,
    )


def _modules(folder: Path) -> list[dict[str, Any]]:
    file = folder / "modules.json"
    if not file.exists():
        return []
    modules = _parse(file)
    if not isinstance(modules, list) or not all(isinstance(one, dict) for one in modules):
        raise ModelError("modules.json is not a list of modules")
    return modules


def _place(folder: Path, name: str) -> Path:
    if name and not is_safe_name(name):
        raise ModelError(
            f"modules.json names a folder outside of the model: {name[:100]!r}",
            hint="deploy it from where it comes whole",
        )
    return folder / name


def _json(file: Path) -> dict[str, Any]:
    found = _parse(file) if file.exists() else {}
    return found if isinstance(found, dict) else {}


def _parse(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{file.name} cannot be read: {error}") from error


def _modes(config: dict[str, Any]) -> tuple[str, ...]:
    named = config.get("pooling_mode")
    if isinstance(named, str):
        return (named,)
    if isinstance(named, list):
        return tuple(map(str, named))
    return tuple(mode for flag, mode in _FLAGS.items() if config.get(flag))


def _dense(place: Path, device: torch.device) -> Dense:
    config = _json(place / "config.json")
    kind = str(config.get("activation_function", "Identity")).rpartition(".")[2]
    if kind not in _ACTIVATIONS:
        raise UnsupportedModel(f"{place.name} has an activation that is not known: {kind!r}")
    try:
        tensors = load_file(place / "model.safetensors")
    except Exception as error:  # safetensors raises what a damaged or missing file leads it to
        raise ModelError(f"{place.name}/model.safetensors cannot be read: {error}") from error
    placed = {name: tensor.to(device, torch.float32) for name, tensor in tensors.items()}
    if "linear.weight" not in placed:
        raise ModelError(f"{place.name}/model.safetensors has no linear.weight")
    return Dense(placed["linear.weight"], placed.get("linear.bias"), _ACTIVATIONS[kind])


def pool(features: torch.Tensor, mask: torch.Tensor, modes: tuple[str, ...]) -> torch.Tensor:
    """One float32 vector a row, of ``features`` (rows, tokens, width) where ``mask`` (rows, tokens)
    is 1; several modes stand one behind the other."""
    return torch.cat(
        [_POOLS[mode](features.float(), mask[:, :, None].float()) for mode in modes], -1
    )


def check_modes(modes: tuple[str, ...]) -> None:
    """Raises UnsupportedModel for a way of pooling that we do not know."""
    for mode in modes:
        if mode not in _POOLS:
            raise UnsupportedModel(f"1_Pooling asks for a pooling that is not known: {mode!r}")


def _last(features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    places = torch.arange(mask.shape[1], device=mask.device)[None] * mask[:, :, 0]
    return features[torch.arange(len(features), device=mask.device), places.argmax(1)]


def _first(features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return features[torch.arange(len(features), device=mask.device), mask[:, :, 0].argmax(1)]


def _weighted(features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Later tokens weigh more (SGPT, arXiv 2202.08904)."""
    weights = torch.arange(1, mask.shape[1] + 1, device=mask.device)[None, :, None] * mask
    return (features * weights).sum(1) / weights.sum(1).clamp(min=1e-9)


_POOLS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "cls": _first,
    "mean": lambda x, mask: (x * mask).sum(1) / mask.sum(1).clamp(min=1e-9),
    "max": lambda x, mask: x.masked_fill(mask == 0, -1e9).amax(1),
    "mean_sqrt_len_tokens": lambda x, mask: (x * mask).sum(1) / mask.sum(1).clamp(min=1e-9).sqrt(),
    "weightedmean": _weighted,
    "lasttoken": _last,
}
