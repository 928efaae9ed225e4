"""Answers that are not predictions, and how every answer becomes bytes."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from modeldeploy.schema.deployment import ModelType
from modeldeploy.schema.stages import Stage
from modeldeploy.schema.threads import Threads
from modeldeploy.schema.worker import Limits


class Alive(Struct, frozen=True, kw_only=True):
    """``GET /livez``."""

    status: Literal["alive"] = "alive"
    deployment_id: str


class Healthy(Struct, frozen=True, kw_only=True):
    """``GET /health`` when a prediction would be answered now."""

    status: Literal["healthy"] = "healthy"
    model_id: str
    deployment_id: str


class NotHealthy(Struct, frozen=True, kw_only=True):
    """``GET /health`` otherwise, with 503; ``percent`` is of the whole deployment."""

    status: Literal["loading", "draining", "unhealthy"]
    stage: Stage
    percent: float
    message: str
    model_id: str
    deployment_id: str


class Endpoint(Struct, frozen=True, kw_only=True, omit_defaults=True):
    method: str
    path: str
    description: str
    example: Any = None


class Info(Struct, frozen=True, kw_only=True):
    """``GET /info``. What is only known once the model is loaded is null before; ``reserved_bytes``
    is what keys and values of texts that are written may take beside ``memory_bytes``, ``notes`` say what of the model's own settings is done differently here, or not at all."""

    model_id: str
    deployment_id: str
    revision: str | None
    task: str
    model_type: ModelType
    dtype: str | None
    device: str | None
    parameters: int | None
    runs: dict[str, str]
    threads: Threads
    max_input_length: int | None
    notes: tuple[str, ...]
    memory_bytes: int
    reserved_bytes: int
    limits: Limits
    versions: dict[str, str]
    uptime_s: float
    endpoints: list[Endpoint]
