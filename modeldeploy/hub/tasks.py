"""Which task a model is deployed for: asked for, else the Hub's tag, else its architecture."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection

from modeldeploy.errors import AmbiguousTask, UnsupportedTask
from modeldeploy.hub.architectures import HUB_TASKS, tasks_of
from modeldeploy.hub.config import ModelConfig
from modeldeploy.schema import tasks
from modeldeploy.schema.deployment import Spec
from modeldeploy.schema.tasks import TaskSchema
from modeldeploy.schema.tasks.echo import ECHO
from modeldeploy.schema.tasks.embeddings import FEATURE_EXTRACTION, TEXT_RANKING

_MODULES = "modules.json"  # what makes a model one of sentence-transformers
_FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)^---", re.DOTALL | re.MULTILINE)
_TAG = re.compile(r"^pipeline_tag:[ \t]*['\"]?([a-z0-9-]+)['\"]?[ \t]*$", re.MULTILINE)


def decide(
    spec: Spec, pipeline_tag: str | None, config: ModelConfig, names: Collection[str] = ()
) -> TaskSchema:
    """The task to serve; ``names`` are the model's files.

    Raises:
        UnsupportedTask: it is known and not one of ours, or not the type asked for.
        AmbiguousTask: nothing decides; the hint lists the candidates.
    """
    if spec.task is not None:
        return _of_type(_asked(spec.task), spec)
    tagged = tasks.find(pipeline_tag) if pipeline_tag else None
    if tagged is not None:
        return _of_type(tagged, spec)
    if config.is_cross_encoder:
        return _of_type(TEXT_RANKING, spec)
    if _MODULES in names:
        return _of_type(FEATURE_EXTRACTION, spec)
    return _of_type(_by_architecture(spec, pipeline_tag, config), spec)


def served() -> str:
    """The tasks a user may ask for, for a hint."""
    return ", ".join(sorted(name for name in tasks.TASKS if name != ECHO.name))


def tag_of_card(card: str) -> str | None:
    """``pipeline_tag`` from the front matter of a README.md, without a YAML parser."""
    front = _FRONT_MATTER.search(card)
    tag = _TAG.search(front.group(1)) if front else None
    return tag.group(1) if tag else None


def _asked(name: str) -> TaskSchema:
    task = tasks.find(name)
    if task is not None:
        return task
    if name in HUB_TASKS:
        raise _not_served(f"the task {name} is not served yet")
    close = difflib.get_close_matches(name, [*tasks.TASKS, *tasks.ALIASES], n=1)
    meant = f"did you mean {close[0]}? " if close else ""
    raise UnsupportedTask(
        f"there is no task {name[:80]!r}", hint=f"{meant}modeldeploy serves {served()}"
    )


def _not_served(message: str) -> UnsupportedTask:
    return UnsupportedTask(message, hint=f"modeldeploy serves {served()}")


def _of_type(task: TaskSchema, spec: Spec) -> TaskSchema:
    if spec.model_type is not None and spec.model_type != task.model_type:
        raise UnsupportedTask(
            f"{task.name} is a task of type {task.model_type}, not {spec.model_type}",
            hint=f"leave out --type, or give --type {task.model_type}",
        )
    return task


def _by_architecture(spec: Spec, pipeline_tag: str | None, config: ModelConfig) -> TaskSchema:
    candidates = list(
        dict.fromkeys(task for name in config.architectures for task in tasks_of(name))
    )
    ours = [task for name in candidates if (task := tasks.find(name))]
    if len(candidates) == 1 and ours:
        return ours[0]
    if candidates and not ours:
        raise _not_served(f"it is a model for {_likely(pipeline_tag, candidates)}, not served yet")
    if pipeline_tag in HUB_TASKS and not ours:
        raise _not_served(f"it is a model for {pipeline_tag}, not served yet")
    raise _ambiguous(spec, config, ours)


def _likely(pipeline_tag: str | None, candidates: list[str]) -> str:
    return pipeline_tag if pipeline_tag in HUB_TASKS else " or ".join(candidates)


def _ambiguous(spec: Spec, config: ModelConfig, ours: list[TaskSchema]) -> AmbiguousTask:
    fitting = ours or [
        task
        for task in tasks.TASKS.values()
        if task is not ECHO and spec.model_type in {None, task.model_type}
    ]
    names = ", ".join(sorted(task.name for task in fitting))
    what = f"its architecture ({', '.join(config.architectures)})" if config.architectures else ""
    return AmbiguousTask(
        f"neither a tag nor {what or 'an architecture in its config.json'} says which task it is for",
        hint=f"choose one with --task: {names}",
    )
