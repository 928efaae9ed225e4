"""The control API's own types; its routes stand in ``supervisor/api.py``."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class DaemonStatus(Struct, frozen=True, kw_only=True):
    """``GET /v1/status``; ``template`` is ``ready``, ``starting`` or ``off``."""

    pid: int
    version: str
    started_at: float
    home: str
    socket: str
    deployments: int
    running: int
    ports: str
    template: str = "off"


class ShutdownRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``POST /v1/shutdown``: ``drain`` ends the workers too, ``keep`` leaves them serving."""

    workers: Literal["drain", "keep"] = "drain"


class LogLine(Struct, frozen=True, kw_only=True):
    """One line of a log; ``time`` is Unix seconds."""

    time: float
    text: str
