"""A task's own example, as the model is to take it."""

from __future__ import annotations

from typing import Any

from modeldeploy.errors import ModelDeployError, ModelError
from modeldeploy.schema.tasks import TaskSchema
from modeldeploy.worker.adapter import Adapter, Item
from modeldeploy.worker.failures import one_line
from modeldeploy.worker.http.requests import example


def items(adapter: Adapter[Any, Any], task: TaskSchema) -> list[Item]:
    """Those of the example."""
    request = example(task, task.smoke_body())
    return adapter.pre(request.inputs[0], request.parameters)


def warm_up(adapter: Adapter[Any, Any], task: TaskSchema) -> list[Any]:
    """The way of one request, with the example: it pages the weights in. The raw outputs.

    Raises:
        ModelError: a model that loads and cannot compute.
    """
    request = example(task, task.smoke_body())
    try:
        made = adapter.pre(request.inputs[0], request.parameters)
        raws = [raw for item in made for raw in adapter.core([item])]
        adapter.post(raws, request.inputs[0], request.parameters)
    except ModelDeployError:
        raise
    except Exception as error:  # whatever a foreign model raises at its first text
        raise ModelError(
            f"its first prediction failed: {one_line(error)}",
            hint="do config.json, weights and tokenizer belong together?",
        ) from error
    return raws
