"""Models that are on this disk already: directories, and those embedded in the package."""

from __future__ import annotations

import hashlib
import importlib
from pathlib import Path

from msgspec.structs import replace

from modeldeploy import extras
from modeldeploy.errors import ModelNotFound, UnsupportedModel
from modeldeploy.hub import adapters, config, fit, select, tasks, untrusted
from modeldeploy.hub.adapters import Companion
from modeldeploy.hub.verify import CHUNK
from modeldeploy.hub.vocoders import FOLDER, vocoder_of
from modeldeploy.modelids import BuiltinModel, LocalModel, is_gguf
from modeldeploy.schema.deployment import Spec
from modeldeploy.schema.fetch import ResolvedModel
from modeldeploy.schema.tasks import TASKS, TaskSchema

_GGUF_MAGIC = b"GGUF"
_LFS_POINTER = b"version https://git-lfs"


def resolve(
    source: LocalModel | BuiltinModel, spec: Spec, companion: Companion | None = None
) -> ResolvedModel:
    """The model in its directory, checked for what can be known without loading it.

    ``companion`` fetches what it is loaded with; None where it is itself a companion.

    Raises:
        ModelNotFound: there is no such directory or embedded model.
        ModelError: the directory holds none that can be served; the message says why.
    """
    if isinstance(source, LocalModel) and source.path.is_file() and is_gguf(source.path.name):
        return _gguf(source.path, spec)
    root = _builtin(source.name) if isinstance(source, BuiltinModel) else _directory(source.path)
    names = _names(root)
    if adapters.is_adapter(names):
        return _adapter(root, names, spec, companion)
    select.require_config(names)
    settings = config.read(untrusted.content(root / select.CONFIG))
    task = tasks.decide(spec, _card_tag(root), settings, names)
    chosen = _select(root, names, settings, spec)
    fit.check_memory(_size(root, chosen.weights), spec.device)
    vocoder = vocoder_of(task.name, settings.architectures)
    needed = None
    if vocoder and companion and not (root / FOLDER).is_dir():
        needed = companion(vocoder, None, task.name)
    return _resolved(root, chosen, spec, task, settings.architectures, needed)


def _resolved(
    root: Path,
    chosen: select.Selection,
    spec: Spec,
    task: TaskSchema,
    architectures: list[str],
    companion: ResolvedModel | None = None,
) -> ResolvedModel:
    more = companion
    return ResolvedModel(
        model_id=spec.model_id,
        commit=None,
        snapshot=str(root),
        task=task.name,
        model_type=task.model_type,
        architectures=architectures,
        weights_bytes=_size(root, chosen.weights) + (more.weights_bytes if more else 0),
        total_bytes=_size(root, chosen.files) + (more.total_bytes if more else 0),
        downloaded_bytes=more.downloaded_bytes if more else 0,
        companion=more.snapshot if more else None,
    )


def _gguf(file: Path, spec: Spec) -> ResolvedModel:
    """What a worker makes of the file lies in the cache, under the hash of its content."""
    root, name = file.parent, select.gguf_file(file.name, [file.name])
    _refuse_pointer(file)
    with file.open("rb") as stream:
        if stream.read(len(_GGUF_MAGIC)) != _GGUF_MAGIC:
            raise UnsupportedModel(f"{file} is not a GGUF file", hint="see how it begins: `GGUF`")
    extras.require("gguf", "a GGUF file")
    task = tasks.decide(spec, None, config.GGUF)
    found = _resolved(root, select.Selection(files=[name], weights=[name]), spec, task, [])
    fit.check_memory(found.weights_bytes, spec.device)
    place = Path(spec.cache_dir) / ".modeldeploy-gguf" / _sha256(file)
    return replace(found, snapshot=str(place), gguf=str(file))


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _adapter(
    root: Path, names: list[str], spec: Spec, companion: Companion | None
) -> ResolvedModel:
    adapter = adapters.read(untrusted.content(root / adapters.CONFIG))
    extras.require("peft", "an adapter")
    weights = adapters.weights(names, allow_pickle=spec.allow_pickle)
    _refuse_pointer(root / weights)
    base = adapter.base_model_name_or_path
    if companion is None:
        raise UnsupportedModel(
            f"{root} needs {base} and is itself what another model needs",
            hint="deploy a model that is whole",
        )
    asked = adapters.task_of(adapter, spec, _card_tag(root))
    found = companion(base, None if base.startswith("/") else adapter.revision, asked)
    chosen = select.select(names, None, [weights], spec)
    return _resolved(root, chosen, spec, TASKS[found.task], found.architectures, found)


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
            hint="give a GGUF file, or the directory that holds config.json and model.safetensors",
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
        weights = select.shards(entry, untrusted.content(root / entry), names)
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
    return (
        tasks.tag_of_card(untrusted.content(card).decode("utf-8", "replace"))
        if card.is_file()
        else None
    )


def _size(root: Path, names: list[str]) -> int:
    return sum((root / name).stat().st_size for name in names)
