"""Models that are on this disk already: directories, and those embedded in the package."""

from __future__ import annotations

import importlib
from pathlib import Path

from modeldeploy.errors import ModelNotFound, UnsupportedModel
from modeldeploy.hub import config, fit, select, tasks
from modeldeploy.modelids import BuiltinModel, LocalModel
from modeldeploy.schema.deployment import Spec
from modeldeploy.schema.fetch import ResolvedModel

_LFS_POINTER = b"version https://git-lfs"


def resolve(source: LocalModel | BuiltinModel, spec: Spec) -> ResolvedModel:
    """The model in its directory, checked for what can be known without loading it.

    Raises:
        ModelNotFound: there is no such directory or embedded model.
        ModelError: the directory holds none that can be served; the message says why.
    """
    root = _builtin(source.name) if isinstance(source, BuiltinModel) else _directory(source.path)
    names = _names(root)
    select.require_config(names)
    settings = config.read((root / select.CONFIG).read_bytes())
    task = tasks.decide(spec, _card_tag(root), settings, names)
    chosen = _select(root, names, settings, spec)
    weights_bytes = _size(root, chosen.weights)
    fit.check_memory(weights_bytes, spec.device)
    return ResolvedModel(
        model_id=spec.model_id,
        commit=None,
        snapshot=str(root),
        task=task.name,
        model_type=task.model_type,
        architectures=settings.architectures,
        weights_bytes=weights_bytes,
        total_bytes=_size(root, chosen.files),
        downloaded_bytes=0,
    )


def _builtin(name: str) -> Path:
    builtin = importlib.import_module("modeldeploy.builtin")
    try:
        return Path(builtin.path(name))
    except KeyError:
        known = ", ".join(f"builtin/{known}" for known in sorted(builtin.names()))
        raise ModelNotFound(
            f"there is no embedded model builtin/{name}", hint=f"there are {known}"
        ) from None


def _directory(path: Path) -> Path:
    if path.is_dir():
        return path
    if path.exists():
        raise UnsupportedModel(
            f"{path} is a file",
            hint="give the directory that holds config.json and model.safetensors",
        )
    raise ModelNotFound(f"there is no directory {path}", hint="check the path")


def _names(root: Path) -> list[str]:
    """Files of the directory and of the directories right in it: all that a model may need."""
    found = [*root.glob("*"), *root.glob("[!.]*/*")]
    return sorted(path.relative_to(root).as_posix() for path in found if path.is_file())


def _select(
    root: Path, names: list[str], settings: config.ModelConfig, spec: Spec
) -> select.Selection:
    if not settings.needs_weights:
        return select.select(names, None, [], spec)
    entry = select.weights_entry(names, allow_pickle=spec.allow_pickle)
    weights = [entry]
    if select.is_index(entry):
        weights = select.shards(entry, (root / entry).read_bytes(), names)
    for name in weights:
        _refuse_pointer(root / name)
    return select.select(names, entry, weights, spec)


def _refuse_pointer(weights: Path) -> None:
    with weights.open("rb") as stream:
        start = stream.read(len(_LFS_POINTER))
    if not start:
        raise UnsupportedModel(f"{weights} is empty")
    if start == _LFS_POINTER:
        raise UnsupportedModel(
            f"{weights} is a Git LFS pointer, not the weights",
            hint="fetch them with `git lfs pull` in that directory",
        )


def _card_tag(root: Path) -> str | None:
    card = root / "README.md"
    return tasks.tag_of_card(card.read_text("utf-8", "replace")) if card.is_file() else None


def _size(root: Path, names: list[str]) -> int:
    return sum((root / name).stat().st_size for name in names)
