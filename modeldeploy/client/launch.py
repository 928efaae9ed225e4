"""The supervisor starts by itself, once, however many commands need it at the same time."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import warnings

import msgspec

from modeldeploy import __version__
from modeldeploy import settings as settings_table
from modeldeploy.client.api import Client
from modeldeploy.errors import DaemonSilent, DaemonUnreachable
from modeldeploy.paths import appending
from modeldeploy.schema.control import DaemonStatus
from modeldeploy.schema.deployment import HubAccess
from modeldeploy.settings import Settings

START_SECONDS = 20.0
_LOST_RACE_SECONDS = 1.0
_LAST_LINES = 12


def hub_access(settings: Settings) -> HubAccess:
    """Where the Hub is and who asks, from the caller's environment. Never stored."""
    env = settings.environment
    return HubAccess(
        endpoint=env.get("HF_ENDPOINT"),
        token=env.get("HF_TOKEN") or env.get("HUGGING_FACE_HUB_TOKEN"),
        offline=env.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"},
    )


def supervisor_command(settings: Settings) -> tuple[list[str], dict[str, str]]:
    """The argv and the environment of a supervisor for this home; secrets stay with the caller,
    who hands over :func:`hub_pipe` as its standard input."""
    env = {
        key: value
        for key, value in settings.environment.items()
        if not settings_table.is_secret(key)
    }
    if settings.paths.home:
        env["MODELDEPLOY_HOME"] = str(settings.paths.home)
    if not settings.gateway:
        env["MODELDEPLOY_GATEWAY"] = "false"
    return [sys.executable, "-m", "modeldeploy.supervisor", "--hub-on-stdin"], env


def hub_pipe(settings: Settings) -> int:
    """What a supervisor reads on its standard input: how the Hub is reached, the token included."""
    reader, writer = os.pipe()
    os.write(writer, msgspec.json.encode(hub_access(settings)) + b"\n")
    os.close(writer)
    return reader


def ensure_running(settings: Settings) -> Client:
    """A client of the supervisor of this home, which is started if none answers.

    However many race, the supervisor's own lock lets one live; the losers end with 0.

    Raises:
        DaemonUnreachable: it could not be started; its last words are in ``details``.
        DaemonSilent: it is there and does not answer.
    """
    client = Client(settings.paths.control_socket)
    status = _status(client) or _launch(settings, client)
    if status.version != __version__:
        warnings.warn(
            f"the supervisor is version {status.version}, this is {__version__}; "
            "modeldeploy daemon stop --keep-workers lets the next command start this one",
            stacklevel=2,
        )
    return client


def connect(settings: Settings | None = None) -> Client:
    """For programs: a client of the user's supervisor, started if need be."""
    return ensure_running(settings or settings_table.load())


def _status(client: Client) -> DaemonStatus | None:
    try:
        return client.status()
    except DaemonSilent:
        raise
    except DaemonUnreachable:
        return None


def _launch(settings: Settings, client: Client) -> DaemonStatus:
    settings.paths.make()
    log = settings.paths.supervisor_log
    start = log.stat().st_size if log.exists() else 0
    deadline = time.monotonic() + START_SECONDS
    why = f"did not answer within {START_SECONDS:g} seconds"
    while time.monotonic() < deadline:
        child = _spawn(settings)
        status = _until_up(client, child, deadline)
        if child.poll() is None:  # reaped by a thread, should we outlive it
            threading.Thread(target=child.wait, daemon=True).start()
        if status:
            return status
        if child.poll():
            why = f"ended at once with code {child.returncode}"
            break
    with log.open("rb") as file:
        file.seek(start if start <= log.stat().st_size else 0)
        said = file.read().decode("utf-8", "replace").splitlines()
    raise DaemonUnreachable(
        f"the supervisor {why}", hint=f"its log is {log}", details=tuple(said[-_LAST_LINES:])
    )


def _spawn(settings: Settings) -> subprocess.Popen[bytes]:
    argv, env = supervisor_command(settings)
    with appending(settings.paths.supervisor_log) as log:
        orders = hub_pipe(settings)
        try:
            return subprocess.Popen(
                argv,
                env=env,
                cwd="/",
                stdin=orders,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        finally:
            os.close(orders)


def _until_up(
    client: Client, child: subprocess.Popen[bytes], deadline: float
) -> DaemonStatus | None:
    """Its status, or None when it (or the deadline) ended and nobody else answers either."""
    pause, ended_at = 0.02, float("inf")
    while time.monotonic() < deadline:
        status = _status(client)
        if status:
            return status
        if child.poll() is not None:
            ended_at = min(ended_at, time.monotonic())
            if child.returncode or time.monotonic() > ended_at + _LOST_RACE_SECONDS:
                return None
        time.sleep(pause)
        pause = min(pause * 1.3, 0.2)
    return None
