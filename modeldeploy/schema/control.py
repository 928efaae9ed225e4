"""The control API's own types; its routes stand in ``supervisor/api.py``."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from modeldeploy.schema.deployment import Deployment, HubAccess


class GatewayStatus(Struct, frozen=True, kw_only=True):
    """The front door: ``url`` is None where there is none; ``notice`` says why, unless it is not
    wanted, or why it is not where it was wanted. ``restarts`` counts those since its supervisor started."""

    url: str | None = None
    notice: str = ""
    pid: int | None = None
    restarts: int = 0


class DaemonStatus(Struct, frozen=True, kw_only=True):
    """``GET /v1/status``; ``template`` is ``ready``, ``starting`` or ``off``; ``set_aside`` are the
    files of damaged state that lie there still."""

    pid: int
    version: str
    started_at: float
    home: str
    socket: str
    deployments: int
    running: int
    ports: str
    template: str = "off"
    gateway: GatewayStatus = GatewayStatus()
    set_aside: list[str] = []


class Fleet(Struct, frozen=True, kw_only=True):
    """One line of ``GET /v1/watch``: every deployment, whole."""

    deployments: list[Deployment]


class Defaults(Struct, frozen=True, kw_only=True):
    """``GET /api/defaults``, of the gateway: what a deploy request says that nobody chose otherwise, and
    the tasks there are."""

    cache_dir: str
    device: str
    dtype: str
    hub: HubAccess
    tasks: list[str]


class ShutdownRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``POST /v1/shutdown``: ``drain`` ends the workers too, ``keep`` leaves them serving."""

    workers: Literal["drain", "keep"] = "drain"


class LogLine(Struct, frozen=True, kw_only=True):
    """One line of a log; ``time`` is Unix seconds."""

    time: float
    text: str
