"""From a snapshot to what makes a model's input of images, sounds and texts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import transformers
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

from modeldeploy.errors import ModelError, UnsupportedModel
from modeldeploy.worker.adapter import Source
from modeldeploy.worker.loading import checkpoint
from modeldeploy.worker.loading.model_errors import typed_errors

_CONFIGS = ("preprocessor_config.json", "processor_config.json")
_VIDEOS = "video_processor"


def load_image_processor(source: Source) -> Any:
    """The image processor of the snapshot, computed by Pillow and numpy.

    Raises:
        ModelError: there is none, or it is damaged.
    """
    return _load_processor(source, "the image processor", transformers.AutoImageProcessor)


def load_feature_extractor(source: Source) -> Any:
    """What makes a model's input of sound.

    Raises:
        ModelError: there is none, or it is damaged.
    """
    return _load_processor(source, "the feature extractor", transformers.AutoFeatureExtractor)


def _load_processor(source: Source, what: str, kind: Any) -> Any:
    if not any((Path(source.model) / name).exists() for name in _CONFIGS):
        raise ModelError(
            f"{what} is not beside the model", hint="preprocessor_config.json must be there"
        )
    with typed_errors(what):
        return kind.from_pretrained(
            source.model,
            local_files_only=True,
            trust_remote_code=source.trust_remote_code,
        )


def load_processor(source: Source) -> Any:
    """What makes a model's input of images and texts together.

    Raises:
        ModelError: there is none, or a part of it is missing or damaged.
    """
    with typed_errors("the processor"):
        try:
            found = transformers.AutoProcessor.from_pretrained(
                source.snapshot,
                local_files_only=True,
                trust_remote_code=source.trust_remote_code,
            )
        except (AttributeError, ImportError, ValueError) as error:
            if not any(part in str(error).lower() for part in (_VIDEOS, "torchvision")):
                raise
            found = _without_videos(source)
    if getattr(found, "tokenizer", None) is None or getattr(found, "image_processor", None) is None:
        raise ModelError(
            "there is no processor of images and texts beside the model",
            hint="processor_config.json or preprocessor_config.json, and a tokenizer, must be there",
        )
    return found


class _NoVideos(dict[str, Any]):
    """What stands where the processor of videos would: a dict, as processors show themselves as
    JSON. SmolVLM's asks for these figures whether there are videos or not."""

    num_frames = 64
    fps = 1


def _without_videos(source: Source) -> Any:
    """The processor of a model that knows videos too, where torchvision, which transformers reads
    videos with, is not installed: its images and texts need none."""
    name = PROCESSOR_MAPPING_NAMES.get(checkpoint.read_config(source).model_type)
    kind: Any = getattr(transformers, name or "", None)
    parts: dict[str, Callable[[], Any]] = {
        "image_processor": lambda: load_image_processor(source),
        "tokenizer": lambda: checkpoint.load_tokenizer(source),
        _VIDEOS: _NoVideos,
    }
    if kind is None or not set(kind.get_attributes()) <= parts.keys():
        raise UnsupportedModel(
            "its processor needs torchvision, which is not installed",
            hint="install torchvision beside modeldeploy, then modeldeploy start NAME",
        )

    def check(self: Any, name: str, argument: Any) -> Any:
        proper: Any = kind.check_argument_for_proper_class
        return None if isinstance(argument, _NoVideos) else proper(self, name, argument)

    lenient: Any = type(kind.__name__, (kind,), {"check_argument_for_proper_class": check})
    told, _ = kind.get_processor_dict(source.snapshot, local_files_only=True)
    return lenient.from_args_and_dict([parts[one]() for one in kind.get_attributes()], told)
