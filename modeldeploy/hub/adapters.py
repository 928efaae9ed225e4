"""Adapters (PEFT): which base model they need, and what for.

The format is that of ``peft``'s ``save_pretrained``: ``adapter_config.json`` beside
``adapter_model.safetensors``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import msgspec
from msgspec import Struct

from modeldeploy.errors import UnsafeWeights, UnsupportedModel, WrongTask
from modeldeploy.hub import select
from modeldeploy.hub.untrusted import decode
from modeldeploy.schema import tasks
from modeldeploy.schema.deployment import Spec
from modeldeploy.schema.fetch import ResolvedModel

CONFIG = "adapter_config.json"
_SAFE, _PICKLED = "adapter_model.safetensors", "adapter_model.bin"
_WHOLE = ("model.safetensors", "model.safetensors.index.json")
_WHOLE_PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")
# Where its own name says it; a SEQ_2_SEQ_LM is for what its base model is for.
_TASKS = {
    "CAUSAL_LM": "text-generation",
    "SEQ_CLS": "text-classification",
    "TOKEN_CLS": "token-classification",
    "QUESTION_ANS": "question-answering",
    "FEATURE_EXTRACTION": "feature-extraction",
}
# Adapters of models that see or hear are called CAUSAL_LM too.
_ALSO_WRITE = frozenset({"AutoModelForImageTextToText", "AutoModelForMultimodalLM"})
# These add tokens of their own to each prompt: there is nothing to merge into the weights.
_PROMPTS = frozenset(
    {
        "PROMPT_TUNING",
        "MULTITASK_PROMPT_TUNING",
        "P_TUNING",
        "PREFIX_TUNING",
        "ADAPTION_PROMPT",
        "CPT",
    }
)

# Fetches what another model is loaded with: its id, its revision, and the task it is for.
Companion = Callable[[str, str | None, str | None], ResolvedModel]


class AdapterConfig(Struct, frozen=True, kw_only=True):
    base_model_name_or_path: str
    peft_type: str = "LORA"
    revision: str | None = None
    task_type: str | None = None

    @property
    def task(self) -> str | None:
        return _TASKS.get(self.task_type or "")


def is_adapter(names: Collection[str]) -> bool:
    """Whether the files are an adapter's, and no whole model's."""
    return CONFIG in names and not any(whole in names for whole in (*_WHOLE, *_WHOLE_PICKLED))


def read(content: bytes) -> AdapterConfig:
    """
    Raises:
        UnsupportedModel: it names no base model, or is of a kind that is not served.
    """
    try:
        found = decode(content, AdapterConfig)
    except msgspec.DecodeError as error:
        raise UnsupportedModel(
            f"its {CONFIG} cannot be read: {error}",
            hint="the upload is damaged: try another revision, or ask its author",
        ) from error
    if found.peft_type in _PROMPTS:
        raise UnsupportedModel(
            f"it is an adapter of the kind {found.peft_type}, which cannot be merged",
            hint="those that change weights can be, such as LoRA",
        )
    return found


def weights(names: Collection[str], *, allow_pickle: bool) -> str:
    """The file with the adapter's tensors.

    Raises:
        UnsafeWeights: it is pickled, and pickle is not allowed. UnsupportedModel: there is none.
    """
    if _SAFE in names:
        return _SAFE
    if _PICKLED not in names:
        raise UnsupportedModel(
            f"it is an adapter without {_SAFE}", hint="deploy a revision that has it"
        )
    if not allow_pickle:
        raise UnsafeWeights(
            "the adapter's weights come only as pickle (.bin)", hint=select.PICKLE_HINT
        )
    return _PICKLED


def task_of(adapter: AdapterConfig, spec: Spec, pipeline_tag: str | None) -> str | None:
    """The task to fetch the base model for: asked for, else the tag's, else the adapter's own;
    None leaves it to the base model.

    Raises:
        WrongTask: the adapter was trained for another head than the one asked for.
    """
    if spec.task is not None:
        _check_head(adapter, spec.task)
        return spec.task
    if pipeline_tag and tasks.find(pipeline_tag):
        return pipeline_tag
    return adapter.task


def _check_head(adapter: AdapterConfig, asked: str) -> None:
    """Before the base model is fetched; the worker looks at the classes themselves."""
    task, own = tasks.find(asked), tasks.find(adapter.task or "")
    if task is None or own is None or own.auto_class == task.auto_class:
        return
    if "AutoModel" in {task.auto_class, own.auto_class}:  # no head at all
        return
    if adapter.task == "text-generation" and task.auto_class in _ALSO_WRITE:
        return
    raise WrongTask(
        f"the adapter was trained for another head ({adapter.task_type}) than that of {asked}",
        hint=f"deploy it with --task {adapter.task}",
    )


def base_of_stranger(adapter: AdapterConfig) -> str:
    """The base model of an adapter from the Hub.

    Raises:
        UnsupportedModel: it names a directory, of its author's machine.
    """
    base = adapter.base_model_name_or_path
    if base.startswith(("/", "./", "../", "~")) or ":" in base:
        raise UnsupportedModel(
            f"its base model is {base[:120]!r}, which is not on the Hub",
            hint="download both, name the base in adapter_config.json, and deploy the directory",
        )
    return base
