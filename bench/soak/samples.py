"""What is looked at each minute: memory, descriptors and threads of each process, bytes of logs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from statistics import linear_regression
from typing import Any

import psutil

from modeldeploy.schema.deployment import Deployment
from tests.e2e.instance import Instance

Sample = dict[str, Any]
MEGABYTE = 2**20
_SETTLED = 10.0  # minutes: until then caches fill and graphs are made


def take(instance: Instance, begun: float) -> Sample:
    """``minute``, ``processes`` by what they are, ``logs`` and ``state`` in bytes."""
    return {
        "minute": round((time.monotonic() - begun) / 60, 2),
        "processes": dict(_processes(instance)),
        "logs": _bytes_in(instance.home / "logs"),
        "state": _bytes_in(instance.home / "state"),
        "files": sum(1 for file in instance.home.rglob("*") if not file.is_dir()),
    }


def _processes(instance: Instance) -> Iterator[tuple[str, dict[str, float]]]:
    status = instance.client.status()
    deployments = instance.client.deployments()
    yield from _one("supervisor", status.pid)
    if status.gateway.pid:
        yield from _one("gateway", status.gateway.pid)
    for pid in _templates(status.pid, deployments):
        yield from _one("template", pid)
    for found in deployments:
        for replica in found.replicas:
            yield from _one(f"worker of {found.name}", replica.pid)


def _templates(supervisor: int, deployments: list[Deployment]) -> list[int]:
    """The supervisor's children that are of the template's program and serve nothing."""
    workers = {replica.pid for found in deployments for replica in found.replicas}
    return [
        child.pid
        for child in psutil.Process(supervisor).children()
        if "modeldeploy.worker.template" in child.cmdline() and child.pid not in workers
    ]


def _one(what: str, pid: int | None) -> Iterator[tuple[str, dict[str, float]]]:
    """Nothing where it has just ended."""
    try:
        process = psutil.Process(pid)
        memory = process.memory_full_info()
        yield (
            what,
            {
                "pid": process.pid,
                "pss_mb": round(memory.pss / MEGABYTE, 2),
                "uss_mb": round(memory.uss / MEGABYTE, 2),
                "rss_mb": round(memory.rss / MEGABYTE, 2),
                "descriptors": process.num_fds(),
                "threads": process.num_threads(),
                "cpu_seconds": round(sum(process.cpu_times()[:2]), 2),
            },
        )
    except psutil.NoSuchProcess:
        return


def _bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def growth(samples: list[Sample]) -> dict[str, dict[str, float]]:
    """Of each process that was one and the same from the tenth minute to the end: what it had then
    and at the end, and the slope of the line through all between, by the hour."""
    return {
        what: _growth([(one["minute"], one["processes"][what]) for one in settled])
        for settled in [_settled(samples)]
        for what in settled[-1]["processes"]
        if len({one["processes"].get(what, {}).get("pid") for one in settled}) == 1
    }


def _settled(samples: list[Sample]) -> list[Sample]:
    """All of them, where the run was shorter."""
    return [one for one in samples if one["minute"] >= _SETTLED] if _is_long(samples) else samples


def _is_long(samples: list[Sample]) -> bool:
    return bool(samples[-1]["minute"] >= 2 * _SETTLED)


def _growth(course: list[tuple[float, dict[str, float]]]) -> dict[str, float]:
    first, last = course[0][1], course[-1][1]
    hours = [minute / 60 for minute, _ in course]
    found: dict[str, float] = {}
    for figure in ("uss_mb", "pss_mb", "rss_mb", "descriptors", "threads"):
        slope = linear_regression(hours, [one[figure] for _, one in course]).slope
        found |= {f"{figure}_first": first[figure], f"{figure}_last": last[figure]}
        found[f"{figure}_hourly"] = round(slope, 2)
    return found
