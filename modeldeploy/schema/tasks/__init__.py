"""The table of tasks: a new one is one schema in its family's file and one adapter."""

from __future__ import annotations

from modeldeploy.schema.tasks import echo, generation, regions, text, vision
from modeldeploy.schema.tasks.base import TaskSchema, hf_input, hf_parameters, native_request

_FAMILIES = (
    text,
    generation,
    vision,
    regions,
    echo,
)

TASKS: dict[str, TaskSchema] = {task.name: task for family in _FAMILIES for task in family.TASKS}

ALIASES: dict[str, str] = {alias: task.name for task in TASKS.values() for alias in task.aliases}


def find(name: str) -> TaskSchema | None:
    """The task of that name or alias, or None."""
    return TASKS.get(ALIASES.get(name, name))


__all__ = [
    "ALIASES",
    "TASKS",
    "TaskSchema",
    "find",
    "hf_input",
    "hf_parameters",
    "native_request",
]
