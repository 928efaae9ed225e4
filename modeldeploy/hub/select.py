"""Which files of a repository or directory a deployment needs: never two formats of weights."""

from __future__ import annotations

import re
from collections.abc import Collection
from fnmatch import fnmatchcase

import msgspec
from msgspec import Struct

from modeldeploy.errors import UnsafeWeights, UnsupportedModel
from modeldeploy.hub.untrusted import decode
from modeldeploy.modelids import is_gguf, is_safe_name
from modeldeploy.schema.deployment import Spec

CONFIG = "config.json"
_SAFE = ("model.safetensors", "model.safetensors.index.json")
_PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")
_ROOT = (
    *("*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken"),
    *("*.spm", "*.codes", "*.vocab"),  # Marian, BERTweet and their like
)
_USELESS = (
    *("*.index.json", "trainer_state.json", "*_results.json", "training_args.json"),
    *("onnx_config.json", "quantize_config.onnx.json", "requirements*.txt", "LICENSE*.txt"),
)
# Templates, and the modules of a sentence-transformers model (1_Pooling, 2_Dense, ...).
_FOLDER = re.compile(r"additional_chat_templates/[^/]+|\d+_[A-Za-z]+/[^/]+\.json")
_MODULE_WEIGHTS = re.compile(r"(\d+_[A-Za-z]+)/(?:model\.safetensors|pytorch_model\.bin)")
_SPLIT = re.compile(r"-\d{5}-of-\d{5}\.gguf\Z", re.IGNORECASE)
_NAMED = 8
PICKLE_HINT = (
    "pickled weights can run any code while they load: deploy a revision or a copy of the model "
    "that has safetensors, or, if you trust its author, deploy again with --allow-pickle"
)


class Selection(Struct, frozen=True):
    """``files`` are all that is needed, ``weights`` those of them that hold tensors."""

    files: list[str]
    weights: list[str]


def weights_entry(names: Collection[str], *, allow_pickle: bool) -> str:
    """The file that the weights start from: a single file, or the index of the shards.

    Raises:
        UnsafeWeights: there are only pickled ones, and pickle is not allowed.
        UnsupportedModel: there are none that transformers loads; the message says what there is.
    """
    for entry in _SAFE:
        if entry in names:
            return entry
    for entry in _PICKLED:
        if entry not in names:
            continue
        if allow_pickle:
            return entry
        raise UnsafeWeights("the weights come only as pickle (.bin)", hint=PICKLE_HINT)
    raise UnsupportedModel(*_why_no_weights(names))


def is_index(entry: str) -> bool:
    return entry.endswith(".index.json")


def shards(entry: str, index: bytes, names: Collection[str]) -> list[str]:
    """The weight files that the index ``entry`` names.

    Raises:
        UnsupportedModel: it cannot be read, or names a file that is not there or not of its kind.
    """
    kind = ".safetensors" if entry == _SAFE[1] else ".bin"
    found = sorted(set(_weight_map(entry, index).values()))
    for name in found:
        if not name.endswith(kind) or not is_safe_name(name):
            raise UnsupportedModel(f"{entry} names {name!r}, which is not a {kind} file")
        if name not in names:
            raise UnsupportedModel(
                f"{entry} names {name}, which is missing",
                hint="the upload seems unfinished: try another revision, or ask its author",
            )
    return found


def _weight_map(entry: str, index: bytes) -> dict[str, str]:
    class Index(Struct):
        weight_map: dict[str, str]

    try:
        weight_map = decode(index, Index).weight_map
    except msgspec.DecodeError as error:
        raise UnsupportedModel(f"{entry} cannot be read: {error}") from error
    if not weight_map:
        raise UnsupportedModel(f"{entry} names no weights")
    return weight_map


def gguf_file(name: str, names: Collection[str]) -> str:
    """``name``, if it is a GGUF file among ``names`` that holds a whole model.

    Raises:
        UnsupportedModel: otherwise.
    """
    if name not in names:
        there = sorted(other for other in names if is_gguf(other))
        raise UnsupportedModel(
            f"there is no file {name}",
            hint=f"its GGUF files: {_some(there)}" if there else "it has no GGUF files at all",
        )
    if _SPLIT.search(name):
        raise UnsupportedModel(
            f"{name} is a part of a model in several files",
            hint="merge them with llama-gguf-split --merge, or deploy one that is whole",
        )
    return name


def require_config(names: Collection[str]) -> None:
    """Raises UnsupportedModel, with what the files are instead, where there is no config.json."""
    if CONFIG not in names:
        raise UnsupportedModel(*_why_no_config(names))


def select(names: Collection[str], entry: str | None, weights: list[str], spec: Spec) -> Selection:
    """The files needed beside ``weights`` (``entry`` is where those start; None: no weights)."""
    wanted = {name for name in names if _is_wanted(name, spec)}
    if entry is not None and is_index(entry):
        wanted.add(entry)
    tensors = [*weights, *_module_weights(names, spec)]
    return Selection(files=sorted(wanted | set(tensors)), weights=tensors)


def _is_wanted(name: str, spec: Spec) -> bool:
    if "/" in name:
        return _FOLDER.fullmatch(name) is not None
    if any(fnmatchcase(name, pattern) for pattern in _USELESS):
        return False
    patterns = (*_ROOT, "*.py") if spec.trust_remote_code else _ROOT
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _module_weights(names: Collection[str], spec: Spec) -> list[str]:
    """One weight file for each sentence-transformers module that has its own (``2_Dense``)."""
    modules = {found.group(1) for name in names if (found := _MODULE_WEIGHTS.fullmatch(name))}
    chosen = []
    for module in sorted(modules):
        safe, pickled = f"{module}/{_SAFE[0]}", f"{module}/{_PICKLED[0]}"
        if safe not in names and not spec.allow_pickle:
            raise UnsafeWeights(f"the weights of {module} come only as pickle", hint=PICKLE_HINT)
        chosen.append(safe if safe in names else pickled)
    return chosen


def _any(names: Collection[str], *patterns: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)


_TRANSFORMERS = "deploy a model in transformers format: config.json beside model.safetensors"


def _why_no_config(names: Collection[str]) -> tuple[str, str]:
    if "model_index.json" in names:
        return "it is a diffusers pipeline, which modeldeploy does not serve", _TRANSFORMERS
    return _foreign_format(names) or ("it has no config.json", _TRANSFORMERS)


def _why_no_weights(names: Collection[str]) -> tuple[str, str]:
    if _any(names, "*.safetensors"):
        return "its safetensors are not named model.safetensors or model-*.safetensors", (
            "deploy a revision that has them under the names that transformers loads"
        )
    return _foreign_format(names) or ("it has no weights", _TRANSFORMERS)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _foreign_format(names: Collection[str]) -> tuple[str, str] | None:
    if files := sorted(name for name in names if is_gguf(name)):
        return "its weights come only as GGUF", (
            f"name the file to deploy, as MODEL:{files[0]} on the Hub or by its own path; "
            f"there {'are' if len(files) > 1 else 'is'} {_some(files)}"
        )
    for pattern, kind in (
        ("*.onnx", "ONNX"),
        ("*.h5", "TensorFlow"),
        ("*.msgpack", "Flax"),
        ("*.mlpackage/*", "Core ML"),
    ):
        if _any(names, pattern):
            hint = "look for the original that it was converted from: " + _TRANSFORMERS
            return f"its weights come only as {kind}, which modeldeploy does not load", hint
    if _any(names, "*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl"):
        return "its weights are pickles under names that transformers does not load", _TRANSFORMERS
    return None
