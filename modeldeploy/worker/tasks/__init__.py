"""One file per task: what :class:`~modeldeploy.worker.adapter.Adapter` asks for."""

from __future__ import annotations

import importlib
from typing import Any

from modeldeploy.schema.tasks import TaskSchema
from modeldeploy.worker.adapter import Adapter


def adapter_of(task: TaskSchema) -> Adapter[Any, Any]:
    """A fresh adapter of ``task``; its module is imported only here."""
    module, _, name = task.adapter.partition(":")
    kind: type[Adapter[Any, Any]] = getattr(importlib.import_module(module), name)
    return kind()
