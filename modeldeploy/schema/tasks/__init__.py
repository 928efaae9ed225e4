"""The table of tasks: a new one is one schema in its family's file and one adapter."""

from __future__ import annotations

from modeldeploy.schema.tasks import (
    audio,
    echo,
    embeddings,
    generation,
    multimodal,
    regions,
    seq2seq,
    tables,
    tagging,
    text,
    vision,
)
from modeldeploy.schema.tasks.base import (
    Ability,
    TaskSchema,
    alternatives,
    hf_input,
    hf_parameters,
    native_request,
    task_parameters,
)
from modeldeploy.schema.tasks.media import file_fields

_FAMILIES = (
    text,
    tagging,
    tables,
    embeddings,
    generation,
    seq2seq,
    vision,
    multimodal,
    audio,
    regions,
    echo,
)

TASKS: dict[str, TaskSchema] = {task.name: task for family in _FAMILIES for task in family.TASKS}

ALIASES: dict[str, str] = {alias: task.name for task in TASKS.values() for alias in task.aliases}


def find(name: str) -> TaskSchema | None:
    """The task of that name or alias, or None. ``translation_xx_to_yy`` is a translation of its
    own name."""
    return TASKS.get(ALIASES.get(name, name)) or seq2seq.translation_of(name)


def answered(task: TaskSchema) -> list[TaskSchema]:
    """The task, and its twin if it has one: whose inputs a deployment of it answers."""
    twin = TASKS.get(task.twin or "")
    return [task, twin] if twin else [task]


__all__ = [
    "ALIASES",
    "TASKS",
    "Ability",
    "TaskSchema",
    "alternatives",
    "answered",
    "file_fields",
    "find",
    "hf_input",
    "hf_parameters",
    "native_request",
    "task_parameters",
]
