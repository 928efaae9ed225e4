"""Ending the supervisor, whether it answers or not."""

from __future__ import annotations

import contextlib
import os
import signal
import time

from modeldeploy import lockfile
from modeldeploy.client import Client, connect
from modeldeploy.errors import DaemonElsewhere, DaemonUnreachable, WaitTimeout
from modeldeploy.lockfile import Holder
from modeldeploy.settings import Settings

_POLL_SECONDS = 0.05
_END_SECONDS = 60.0  # beyond the drain


def end(values: Settings, *, keep_workers: bool) -> int | None:
    """End whoever supervises this home, and its workers too unless they are to go on serving.

    Returns:
        Which process that was, None if there was none.

    Raises:
        WaitTimeout: it is there still.
        DaemonElsewhere: it does not answer, and no signal of ours reaches it.
    """
    client = Client(values.paths.control_socket)
    ending = _Ending(values, client, keep_workers=keep_workers)
    try:
        pid = client.status().pid
    except DaemonUnreachable:
        found = lockfile.holder(values.paths.lock)
        if found is None:
            return None
        ending.by_force(found)
        return found.pid
    ending.by_asking(pid)
    return pid


class _Ending:
    def __init__(self, values: Settings, client: Client, *, keep_workers: bool) -> None:
        self._values, self._client, self._keep_workers = values, client, keep_workers

    def by_asking(self, pid: int) -> None:
        found = lockfile.holder(self._values.paths.lock)
        self._client.shutdown(keep_workers=self._keep_workers)
        self._wait_for(found or Holder(pid), self._values.drain_timeout + _END_SECONDS)

    def by_force(self, found: Holder) -> None:
        """One that was stopped goes on, one whose socket is gone hears a signal; one that hangs is
        killed, and has a successor that ends its workers."""
        if not found.pid:
            raise DaemonUnreachable("the supervisor is just starting", hint="try again in a moment")
        if not found.is_near:
            raise DaemonElsewhere(
                f"the supervisor of this home does not answer, and runs in another container "
                f"(as process {found.pid} there)",
                hint="end it there, or give each container a MODELDEPLOY_HOME of its own",
            )
        _signal(found.pid, signal.SIGCONT)
        with contextlib.suppress(DaemonUnreachable):
            self._client.status()
            self.by_asking(found.pid)
            return
        if not self._keep_workers:
            _signal(found.pid, signal.SIGTERM)
            with contextlib.suppress(WaitTimeout):
                self._wait_for(found, self._values.drain_timeout + _END_SECONDS)
                return
        _signal(found.pid, signal.SIGKILL)
        self._wait_for(found, _END_SECONDS)
        if not self._keep_workers:
            successor = connect(self._values)
            _Ending(self._values, successor, keep_workers=False).by_asking(successor.status().pid)

    def _wait_for(self, found: Holder, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._is_gone(found):
                return
            time.sleep(_POLL_SECONDS)
        raise WaitTimeout(
            f"the supervisor (pid {found.pid}) has not ended within {seconds:g} seconds",
            hint="modeldeploy daemon logs tells what it waits for",
        )

    def _is_gone(self, found: Holder) -> bool:
        """It is a child of whoever started it, so it cannot be waited for, only looked at; from
        another container only its lock tells."""
        import psutil

        if not found.is_near:
            return lockfile.holder(self._values.paths.lock) != found
        try:
            return bool(psutil.Process(found.pid).status() == psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return True


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
        os.kill(pid, number)
