"""The control API's own types; its routes stand in ``supervisor/api.py``."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

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


Follow = Annotated[bool, Meta(description="Go on with what comes.")]


class EventsQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ``GET .../events`` may be asked with."""

    after: Annotated[int, Meta(ge=0, description="Events past this number.")] = 0
    follow: Follow = False


class LogsQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ``GET .../logs`` may be asked with."""

    tail: Annotated[int, Meta(ge=0, le=10**9, description="The last so many lines.")] | None = None
    since: Annotated[float, Meta(description="Those since then, in Unix seconds.")] | None = None
    after: Annotated[str, Meta(description="Those behind the line of this position.")] | None = None
    follow: Follow = False


class FiguresQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ``GET /api/figures`` may be asked with."""

    since: Annotated[float, Meta(description="Points past that time, in Unix seconds.")] = 0.0


class RevokeQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ``DELETE .../keys/{key}`` may be asked with."""

    open: Annotated[bool, Meta(description="Also the last one: then everybody is answered.")] = (
        False
    )


class LogLine(Struct, frozen=True, kw_only=True):
    """One line of a log; ``time`` is Unix seconds, ``position`` where to go on ``after`` it."""

    time: float
    text: str
    position: str = ""
