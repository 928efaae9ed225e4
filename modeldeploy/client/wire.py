"""What stands on the control socket's wire, and what it means."""

from __future__ import annotations

import http.client
import json
import re
import socket
import time
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec

from modeldeploy import __version__
from modeldeploy.errors import (
    DaemonSilent,
    DaemonUnreachable,
    DeploymentFailed,
    ModelDeployError,
    WaitTimeout,
    from_problem,
)
from modeldeploy.paths import check_name
from modeldeploy.schema.deployment import Deployment
from modeldeploy.schema.problem import Problem

T = TypeVar("T")

SILENT_SECONDS = 20.0  # of a stream that has something to say every five


@dataclass(frozen=True)
class Patience:
    """How long ``name`` may take: ``seconds`` from when this was made, or for ever."""

    name: str
    seconds: float | None
    deadline: float

    @classmethod
    def of(cls, name: str, seconds: float | None) -> Patience:
        return cls(name, seconds, time.monotonic() + (seconds or 0.0))

    def left(self) -> float | None:
        """Seconds, None for no end.

        Raises:
            WaitTimeout: none are left.
        """
        if self.seconds is None:
            return None
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise self.over()
        return left

    def over(self) -> WaitTimeout:
        return WaitTimeout(
            f"{self.name} was not done within {self.seconds:g} seconds; it goes on",
            hint=f"modeldeploy wait {self.name} re-attaches",
        )


def path_of(name: str, rest: str = "", query: dict[str, Any] | None = None) -> str:
    given = {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in (query or {}).items()
        if value is not None
    }
    return f"/v1/deployments/{check_name(name)}{rest}" + (f"?{urlencode(given)}" if given else "")


def next_line(response: http.client.HTTPResponse, sock: socket.socket, patience: Patience) -> bytes:
    """The next that says something; empty lines come every few seconds meanwhile."""
    while True:
        left = patience.left()
        sock.settimeout(min(SILENT_SECONDS, left or SILENT_SECONDS))
        try:
            line = response.readline()
        except TimeoutError:
            patience.left()  # which is over, or
            raise silent("its control socket") from None
        if line != b"\n":
            return line


def silent(where: str) -> DaemonSilent:
    return DaemonSilent(
        f"the supervisor is there and does not answer at {where}: it was stopped, or it hangs",
        hint="modeldeploy daemon stop ends it; modeldeploy daemon restart leaves the workers serving",
    )


def words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def decoded(raw: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DaemonUnreachable(
            f"the supervisor's answer makes no sense to version {__version__}: {error}",
            hint="restart it with this version: modeldeploy daemon stop --keep-workers",
        ) from error


def checked(response: http.client.HTTPResponse) -> bytes:
    """The body of a good answer; a bad one is raised as the error it stands for."""
    raw = response.read()
    if response.status < 300:
        return raw
    try:
        problem = msgspec.json.decode(raw, type=Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        problem = Problem(code="http_error", message=f"the supervisor answered {response.status}")
    raise from_problem(problem)


class _Answer(msgspec.Struct):
    """The native envelope of an error (HTTP.md)."""

    error: Problem


def prediction(status: int, raw: bytes) -> Any:
    try:
        if status < 400:
            return msgspec.json.decode(raw)
        raise from_problem(msgspec.json.decode(raw, type=_Answer).error)
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = raw[:200].decode("utf-8", "replace")
        raise ModelDeployError(f"the deployment answered {status}: {text}") from None


def told(raw: bytes) -> Any:
    """An event of a prediction; one that tells of an error is raised as that."""
    found = prediction(200, raw)
    if isinstance(found, dict) and found.get("status") == "error":
        raise from_problem(msgspec.convert(found, _Answer).error)
    return found


def failure(deployment: Deployment) -> DeploymentFailed:
    """What a deployment in FAILED died of, its code, hint and last log lines included."""
    problem = deployment.error or Problem(code="deployment_failed", message="it failed")
    error = from_problem(problem)
    if not isinstance(error, DeploymentFailed):
        error = DeploymentFailed(problem.message, problem.hint, tuple(problem.details))
        error.code = problem.code
    hint = problem.hint or "see modeldeploy logs NAME; modeldeploy start NAME tries again"
    error.hint = re.sub(r"\bNAME\b", deployment.name, hint)
    return error
