"""The table of tasks: a new one is one line here, one schema and one adapter."""

from __future__ import annotations

from modeldeploy.schema.tasks.base import TaskSchema, native_request
from modeldeploy.schema.tasks.echo import ECHO
from modeldeploy.schema.tasks.generation import TEXT_GENERATION
from modeldeploy.schema.tasks.text import QUESTION_ANSWERING, TEXT_CLASSIFICATION
from modeldeploy.schema.tasks.vision import IMAGE_CLASSIFICATION

TASKS: dict[str, TaskSchema] = {
    task.name: task
    for task in (
        TEXT_CLASSIFICATION,
        TEXT_GENERATION,
        QUESTION_ANSWERING,
        IMAGE_CLASSIFICATION,
        ECHO,
    )
}

ALIASES: dict[str, str] = {alias: task.name for task in TASKS.values() for alias in task.aliases}


def find(name: str) -> TaskSchema | None:
    """The task of that name or alias, or None."""
    return TASKS.get(ALIASES.get(name, name))


__all__ = ["ALIASES", "TASKS", "TaskSchema", "find", "native_request"]
