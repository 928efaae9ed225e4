"""What a container may have of its machine counts, and not what the machine has."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from modeldeploy import machine

GB = 10**9
Write = Callable[[str, str], None]


@pytest.fixture(name="write")
def _write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Puts a file into what stands for /sys/fs/cgroup; ``own`` is /proc/self/cgroup."""
    monkeypatch.setattr(machine, "_GROUPS", tmp_path)
    monkeypatch.setattr(machine, "_OWN", tmp_path / "own")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)

    def write(name: str, text: str) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")

    write("own", "0::/")
    return write


def test_without_a_container_it_is_the_machine(write: Write) -> None:
    memory = psutil.virtual_memory()
    assert machine.memory_total() == memory.total
    assert machine.memory_available() == pytest.approx(memory.available, rel=0.2)
    assert machine.cores() == 8
    for name in ("memory.max", "cpu.max"):
        write(name, "max 100000")
    assert machine.memory_total() == memory.total
    assert machine.cores() == 8


@pytest.mark.parametrize(
    "group", ["", "system.slice/ours.service/"], ids=["in a container", "on a machine"]
)
def test_a_bound_of_memory_counts_without_what_can_be_dropped(write: Write, group: str) -> None:
    write("own", f"0::/{group.rstrip('/')}")
    write(f"{group}memory.max", f"{GB // 10}")
    write(f"{group}memory.current", f"{GB // 20}")
    assert machine.memory_total() == GB // 10
    assert machine.memory_available() == GB // 20
    write(f"{group}memory.stat", f"anon 7\nfile 9\ninactive_file {GB // 50}\nactive_file 3")
    assert machine.memory_available() == GB // 20 + GB // 50


def test_version_1_has_other_names(write: Write) -> None:
    write("own", "4:cpu,cpuacct:/docker/1\n3:memory:/docker/1")
    write("memory/memory.limit_in_bytes", f"{GB // 10}")
    write("memory/memory.usage_in_bytes", f"{GB // 20}")
    write("memory/memory.stat", f"inactive_file 5\ntotal_inactive_file {GB // 50}")
    assert machine.memory_total() == GB // 10
    assert machine.memory_available() == GB // 20 + GB // 50
    write("cpu/cpu.cfs_period_us", "100000")
    write("cpu/cpu.cfs_quota_us", "-1")
    assert machine.cores() == 8
    write("cpu/cpu.cfs_quota_us", "250000")
    assert machine.cores() == 3


def test_whoever_is_above_bounds_too(write: Write) -> None:
    write("own", "0::/pod/container")
    write("pod/container/memory.max", f"{GB}")
    write("pod/memory.max", f"{GB // 10}")
    write("pod/memory.current", f"{GB // 5}")
    assert machine.memory_total() == GB // 10
    assert machine.memory_available() == 0


@pytest.mark.parametrize(
    ("quota", "cores"), [("150000", 2), ("200000", 2), ("5000", 1), ("9900000", 8)]
)
def test_a_quota_of_processors_time_counts_in_whole_ones(
    write: Write, quota: str, cores: int
) -> None:
    write("cpu.max", f"{quota} 100000")
    assert machine.cores() == cores
