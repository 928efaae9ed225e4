"""From a snapshot on disk to a model in memory; whatever is wrong becomes one line of cause."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

# Read at import time by transformers: no thread of its own may convert what we load.
os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers

from modeldeploy.errors import (
    ModelError,
    RemoteCodeRefused,
    UnsafeWeights,
    UnsupportedModel,
    WrongTask,
)
from modeldeploy.worker import cpu
from modeldeploy.worker.adapter import Source
from modeldeploy.worker.failures import one_line
from modeldeploy.worker.loading import adapters, devices, heads
from modeldeploy.worker.loading.adapters import AdapterFiles
from modeldeploy.worker.loading.model_errors import TRUST_HINT, typed_errors
from modeldeploy.worker.loading.progress import tensor_progress

_NAMED_KEYS = 4
_CODE_KEYS = ("attn_implementation", "_attn_implementation", "experts_implementation")
_VOCABULARIES = ("tokenizer.json", "*vocab*", "*.model", "*.tiktoken", "*.spm", "tekken.json")
_TASK_OF_SUFFIX = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ViltForQuestionAnswering": "visual-question-answering",
    "BlipForQuestionAnswering": "visual-question-answering",
    "LayoutLMForQuestionAnswering": "document-question-answering",
    "ForQuestionAnswering": "question-answering",
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
    "ForMaskedLM": "fill-mask",
    "ForImageClassification": "image-classification",
    "OwlViTForObjectDetection": "zero-shot-object-detection",
    "Owlv2ForObjectDetection": "zero-shot-object-detection",
    "GroundingDinoForObjectDetection": "zero-shot-object-detection",
    "ForObjectDetection": "object-detection",
    "DetrForSegmentation": "image-segmentation",
    "ForInstanceSegmentation": "image-segmentation",
    "ForSemanticSegmentation": "image-segmentation",
    "ForUniversalSegmentation": "image-segmentation",
    "ForDepthEstimation": "depth-estimation",
    "ForKeypointMatching": "keypoint-matching",
    "ForVideoClassification": "video-classification",
    "BlipForConditionalGeneration": "image-to-text",
    "WhisperForConditionalGeneration": "automatic-speech-recognition",
    "ForConditionalGeneration": "text2text-generation",
    "MTModel": "translation",
    "VisionEncoderDecoderModel": "image-to-text",
    "ForCTC": "automatic-speech-recognition",
    "ForAudioClassification": "audio-classification",
    "CLIPModel": "zero-shot-image-classification",
    "SiglipModel": "zero-shot-image-classification",
    "SamModel": "mask-generation",
    "ViTModel": "image-feature-extraction",
    "ForTextToSpeech": "text-to-speech",
    "ClapModel": "zero-shot-audio-classification",
    "VitsModel": "text-to-speech",
    "Model": "feature-extraction",
}


def read_config(source: Source) -> Any:
    """The model's ``PretrainedConfig``.

    Raises:
        UnsupportedModel, RemoteCodeRefused, ModelError
    """
    _check_raw_config(source)
    with typed_errors("config.json"):
        return transformers.AutoConfig.from_pretrained(
            source.model,
            local_files_only=True,
            trust_remote_code=source.trust_remote_code,
        )


def _check_raw_config(source: Source) -> None:
    file = Path(source.model) / "config.json"
    try:
        raw = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise UnsupportedModel(
            "there is no config.json", hint="is it a transformers model?"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"config.json cannot be read: {one_line(error)}") from error
    if not isinstance(raw, dict):
        raise ModelError("config.json is not a JSON object")
    if not source.trust_remote_code and (name := _code_repository(raw)):
        raise RemoteCodeRefused(
            f"config.json names code to fetch from the repository {name!r}", hint=TRUST_HINT
        )


def _code_repository(raw: Any) -> str | None:
    """A repository that an attention implementation, at any depth, would be fetched from."""
    if isinstance(raw, list):
        return next((found for one in raw if (found := _code_repository(one))), None)
    if not isinstance(raw, dict):
        return None
    for key in _CODE_KEYS:
        named = raw.get(key)
        values = named.values() if isinstance(named, dict) else [named]
        for value in values:
            if isinstance(value, str) and "/" in value:
                return value
    return _code_repository(list(raw.values()))


def load_model(source: Source, auto_class: str, config: Any, unused: tuple[str, ...] = ()) -> Any:
    """The model of ``config`` in eval mode on its device; weights whose names have one of
    ``unused`` in them may be missing.

    Raises:
        ModelError, DeviceUnavailable: with one line of cause.
    """
    torch.set_num_threads(source.threads)
    torch.seed()  # torch starts every process with the same one
    device = devices.choose_device(source.device)
    devices.prepare(device)
    stored = getattr(config, "dtype", None)
    dtype = devices.choose_dtype(
        source.dtype,
        stored if isinstance(stored, torch.dtype) else None,
        device,
        cpu_bf16=cpu.computes_bf16(),
    )
    _check_weights(source)
    # Classes of a decoder alone set it to false in the config that they are given.
    is_whole = bool(getattr(config, "is_encoder_decoder", False))
    kind = getattr(transformers, auto_class)
    adapter = None
    if source.adapter:
        adapter = adapters.read(Path(source.adapter), allow_pickle=source.allow_pickle)
        adapter.fit(config)
    with typed_errors("the model"), tensor_progress(source.progress):
        model, found = _from_pretrained(kind, source, config, dtype)
        missing = found["missing_keys"]
        _leave_out(found, [key for key in missing if any(part in key for part in unused)])
        if adapter:
            _leave_out(found, adapter.heads)
        _check_found(found, model, config, source)
        _check_head(type(model).__name__, config, source, adapter, is_whole=is_whole)
        if missing := sorted(found["missing_keys"]):
            raise ModelError(f"{_named(missing)} are missing in the weights files")
        if adapter:
            model = adapter.merged(model)
        return model.eval().requires_grad_(False).to(device)


def _from_pretrained(kind: Any, source: Source, config: Any, dtype: torch.dtype) -> Any:
    try:
        return kind.from_pretrained(
            source.model,
            config=config,
            dtype=dtype,
            use_safetensors=None if source.allow_pickle else True,
            trust_remote_code=source.trust_remote_code,
            local_files_only=True,
            ignore_mismatched_sizes=True,  # they are reported, and refused by us with their names
            output_loading_info=True,
        )
    except ValueError as error:
        if "Unrecognized configuration class" in str(error):
            raise _wrong_task(config, source, "has no class for") from error
        raise


def _check_weights(source: Source) -> None:
    folder = Path(source.model)
    if source.allow_pickle or any(folder.glob("*.safetensors")):
        return
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt")):
        raise UnsafeWeights(
            "its weights are pickle files, which can run code when they are loaded",
            hint="if you trust them, deploy with --allow-pickle",
        )
    raise ModelError("there are no weights in safetensors format")


def _leave_out(found: dict[str, Any], names: Collection[str]) -> None:
    """Forget of what was amiss with the weights what comes from elsewhere."""
    for fault in ("missing_keys", "mismatched_keys"):
        found[fault] = [key for key in found[fault] if _name_of(key) not in names]


def _name_of(key: Any) -> str:
    return str(key[0] if isinstance(key, tuple) else key)


def _check_found(found: dict[str, Any], model: Any, config: Any, source: Source) -> None:
    """Refuse a head that was made up: it answers, and answers nonsense.

    Raises:
        WrongTask: its weights are missing. ModelError: shapes differ.
    """
    mismatched = sorted(map(_name_of, found["mismatched_keys"]))
    if mismatched:
        raise ModelError(
            f"{_named(mismatched)} in the weights have other shapes than config.json says",
            hint="the checkpoint and its config.json do not belong together",
        )
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    head = sorted(key for key in found["missing_keys"] if not key.startswith(prefix))
    if head:
        raise _wrong_task(config, source, f"has no weights ({_named(head)}) for the head of")


def _check_head(
    loaded: str, config: Any, source: Source, adapter: AdapterFiles | None, *, is_whole: bool
) -> None:
    """Refuse a head that was trained for something else.

    Raises:
        WrongTask: it was, or it is a decoder that lacks its encoder.
    """
    names = [str(name) for name in getattr(config, "architectures", None) or []]
    if heads.is_half(names, loaded, is_encoder_decoder=is_whole):
        raise _wrong_task(config, source, "needs its encoder, which is left out in")
    if adapter and adapter.task_type:
        own = heads.OF_ADAPTERS.get(adapter.task_type)
        if own and heads.is_another([own], loaded, is_encoder_decoder=is_whole):
            raise _wrong_adapter(adapter.task_type, own, source)
        return
    brings_its_own = adapter is not None and bool(adapter.heads)
    if not brings_its_own and heads.is_another(names, loaded, is_encoder_decoder=is_whole):
        raise _wrong_task(config, source, "has another head than that of")


def _wrong_adapter(task_type: str, suffix: str, source: Source) -> WrongTask:
    return WrongTask(
        f"the adapter was trained for another head ({task_type}) than that of {source.task.name}",
        hint=f"deploy it with --task {_TASK_OF_SUFFIX[suffix]}",
    )


def _named(keys: list[str]) -> str:
    more = f" and {len(keys) - _NAMED_KEYS} more" if len(keys) > _NAMED_KEYS else ""
    return ", ".join(keys[:_NAMED_KEYS]) + more


def _wrong_task(config: Any, source: Source, lacks: str) -> WrongTask:
    names = [str(name) for name in getattr(config, "architectures", None) or []]
    tasks = [
        next((task for suffix, task in _TASK_OF_SUFFIX.items() if name.endswith(suffix)), None)
        for name in names
    ]
    known = [task for task in tasks if task and task != source.task.name]
    what = " and ".join(names) or f"a {config.model_type} model"
    return WrongTask(
        f"the model ({what}) {lacks} {source.task.name}",
        hint=f"deploy it with --task {known[0]}" if known else "choose a model made for the task",
    )


def load_tokenizer(source: Source) -> Any:
    """The tokenizer of the snapshot.

    Raises:
        ModelError: there is none, or it is damaged.
    """
    folder = next(
        (one for one in map(Path, (source.snapshot, source.model)) if _has_words(one)), None
    )
    if folder is None:
        # transformers would make an empty one of the model's type and say nothing.
        raise ModelError(
            "there is no tokenizer beside the model",
            hint="tokenizer.json, or a vocabulary and tokenizer_config.json, must be there",
        )
    with typed_errors("the tokenizer"):
        return transformers.AutoTokenizer.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=source.trust_remote_code,
        )


def _has_words(folder: Path) -> bool:
    """Whether a tokenizer is there; byte-level ones need no vocabulary."""
    named = (folder / "tokenizer_config.json").exists()
    return named or any(any(folder.glob(pattern)) for pattern in _VOCABULARIES)
