"""Processes: who one is, when it ends, and how to end it with everything it started.

A pid alone is never trusted. Identity is pid + start time + boot id + pid namespace, as
systemd has it: a number that was given to another process does not match.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from msgspec import Struct

from modeldeploy.lockfile import pid_namespace

_POLL_SECONDS = 0.2
_WAIT_SECONDS = 0.01
_HAS_PROC = Path("/proc/self/stat").exists()
_STAT_STARTTIME = 19  # field 22 of /proc/pid/stat, counted behind the command's name


class Identity(Struct, frozen=True):
    """One process among all that ever bore its pid. ``start`` is in clock ticks since boot on
    Linux (no clock change moves it), in Unix seconds elsewhere."""

    pid: int
    start: float
    boot: str
    namespace: str


def _boot_id() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return str(int(psutil.boot_time()))


def _start(pid: int) -> float | None:
    """When the process started, or None when there is none or it is a zombie."""
    if _HAS_PROC:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
        except OSError:
            return None
        fields = stat[stat.rindex(")") + 2 :].split()
        return None if fields[0] in "ZX" else float(fields[_STAT_STARTTIME])
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None


def identify(pid: int) -> Identity | None:
    """The identity of a live process, or None."""
    start = _start(pid)
    return None if start is None else Identity(pid, start, _boot_id(), pid_namespace())


def is_alive(identity: Identity) -> bool:
    """Whether that very process still runs (a zombie does not)."""
    return identify(identity.pid) == identity


def is_awake(pid: int) -> bool:
    """Whether a child that we have not reaped lives and is not stopped (SIGSTOP)."""
    stopped = {psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP}
    try:
        status = psutil.Process(pid).status()
    except psutil.Error:
        return False
    return status not in {*stopped, psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}


def memory_bytes(pid: int) -> int:
    """Resident memory of a process and its children, 0 when it is gone."""
    try:
        process = psutil.Process(pid)
        return sum(p.memory_info().rss for p in [process, *process.children(recursive=True)])
    except psutil.Error:
        return 0


def kill_group(identity: Identity, sig: signal.Signals = signal.SIGKILL) -> None:
    """Signal the process group that ``identity`` led, or leads; a no-op once it is empty.

    Workers lead a group of their own, so this reaches whatever they started too, also when
    the leader itself is dead already.
    """
    now = identify(identity.pid)
    if now not in (identity, None):
        return  # the number belongs to a stranger by now
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(identity.pid, sig)


def wait_end(identity: Identity, seconds: float) -> bool:
    """Block until that process has ended, or for so long; whether it has."""
    deadline = time.monotonic() + seconds
    while is_alive(identity):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_WAIT_SECONDS)
    return True


def watch(identity: Identity, on_end: Callable[[], None]) -> Callable[[], None]:
    """Call ``on_end`` once, in the running loop, when the process has ended.

    Returns a function that stops watching. A pidfd where the kernel has them, else polling.
    """
    loop = asyncio.get_running_loop()
    if not hasattr(os, "pidfd_open"):
        return _watch_by_polling(identity, on_end, loop)
    try:
        fd = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        handle = loop.call_soon(on_end)
        return handle.cancel
    if identify(identity.pid) not in (identity, None):
        os.close(fd)  # the pid was given to a stranger between our two looks
        handle = loop.call_soon(on_end)
        return handle.cancel
    open_fds = {fd}

    def stop() -> None:
        if open_fds:
            open_fds.clear()
            loop.remove_reader(fd)
            os.close(fd)

    def ended() -> None:
        stop()
        on_end()

    loop.add_reader(fd, ended)
    return stop


def _watch_by_polling(
    identity: Identity, on_end: Callable[[], None], loop: asyncio.AbstractEventLoop
) -> Callable[[], None]:
    async def poll() -> None:
        while is_alive(identity):  # noqa: ASYNC110 - the kernel has no event for us here
            await asyncio.sleep(_POLL_SECONDS)
        on_end()

    task = loop.create_task(poll())
    return lambda: (task.cancel(), None)[1]


def describe_exit(returncode: int | None, why_killed: str = "") -> str:
    """How a process ended, in words; ``returncode`` as in :mod:`subprocess`, None if unknown.
    ``why_killed`` holds for SIGKILL alone."""
    if returncode is None:
        return "ended (it was started by an earlier supervisor, so how is not known)"
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    if why_killed and -returncode == signal.SIGKILL:
        return f"was killed by {name}: {why_killed}"
    return f"was killed by {name}"
