"""Ending the supervisor, whether it answers or not."""

from __future__ import annotations

import contextlib
import os
import signal
import time

from modeldeploy.client import Client, connect, supervisor_pid
from modeldeploy.errors import DaemonUnreachable, WaitTimeout
from modeldeploy.settings import Settings

_POLL_SECONDS = 0.05
_END_SECONDS = 60.0  # beyond the drain


def end(values: Settings, *, keep_workers: bool) -> int | None:
    """End whoever supervises this home, and its workers too unless they are to go on serving.

    Returns:
        Which process that was, None if there was none.

    Raises:
        WaitTimeout: it is there still.
    """
    client = Client(values.paths.control_socket)
    try:
        pid = client.status().pid
    except DaemonUnreachable:
        silent = supervisor_pid(values.paths)
        if silent is None:
            return None
        _end_silent(silent, client, values, keep_workers=keep_workers)
        return silent
    _end_by_asking(pid, client, values, keep_workers=keep_workers)
    return pid


def _end_by_asking(pid: int, client: Client, values: Settings, *, keep_workers: bool) -> None:
    client.shutdown(keep_workers=keep_workers)
    _wait_for_the_end_of(pid, values.drain_timeout + _END_SECONDS)


def _end_silent(pid: int, client: Client, values: Settings, *, keep_workers: bool) -> None:
    """One that was stopped goes on, one whose socket is gone hears a signal; one that hangs is killed,
    and has a successor that ends its workers."""
    if not pid:
        raise DaemonUnreachable("the supervisor is just starting", hint="try again in a moment")
    _signal(pid, signal.SIGCONT)
    with contextlib.suppress(DaemonUnreachable):
        client.status()
        _end_by_asking(pid, client, values, keep_workers=keep_workers)
        return
    if not keep_workers:
        _signal(pid, signal.SIGTERM)
        with contextlib.suppress(WaitTimeout):
            _wait_for_the_end_of(pid, values.drain_timeout + _END_SECONDS)
            return
    _signal(pid, signal.SIGKILL)
    _wait_for_the_end_of(pid, _END_SECONDS)
    if not keep_workers:
        successor = connect(values)
        _end_by_asking(successor.status().pid, successor, values, keep_workers=False)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
        os.kill(pid, number)


def _wait_for_the_end_of(pid: int, seconds: float) -> None:
    """It is a child of whoever started it, so it cannot be waited for, only looked at."""
    import psutil

    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return
        except psutil.NoSuchProcess:
            return
        time.sleep(_POLL_SECONDS)
    raise WaitTimeout(
        f"the supervisor (pid {pid}) has not ended within {seconds:g} seconds",
        hint="modeldeploy daemon logs tells what it waits for",
    )
