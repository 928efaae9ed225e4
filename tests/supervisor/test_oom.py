from __future__ import annotations

import os
from pathlib import Path

import pytest

from modeldeploy.supervisor import oom, processes
from modeldeploy.supervisor.oom import OomKills
from modeldeploy.supervisor.processes import Identity


class Kernel:
    """What it tells, in files."""

    def __init__(self, folder: Path, pid: int) -> None:
        self.vmstat = folder / "vmstat"
        self.groups = folder / "groups"
        self.membership = folder / str(pid) / "cgroup"
        self.membership.parent.mkdir()
        self.vmstat.write_text("nr_free_pages 5\noom_kill 7\npswpin 0\n")

    def put_in_group(self, line: str, file: str, kills: int) -> Path:
        self.membership.write_text(f"9:name=systemd:/\n{line}\n")
        found = self.groups / file
        found.parent.mkdir(parents=True, exist_ok=True)
        found.write_text(f"under_oom 0\noom_kill {kills}\n")
        return found

    def tells(self, file: Path, kills: int) -> None:
        file.write_text(f"under_oom 0\noom_kill {kills}\n")


@pytest.fixture
def identity() -> Identity:
    found = processes.identify(os.getpid())
    assert found
    return found


@pytest.fixture
def kernel(tmp_path: Path, identity: Identity, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel(tmp_path, identity.pid)
    monkeypatch.setattr(oom, "_PROC", tmp_path)
    monkeypatch.setattr(oom, "_GROUPS", made.groups)
    return made


@pytest.mark.promise(
    2, fault="a worker is killed by hand after the kernel killed others for memory"
)
def test_kills_before_its_last_sign_of_life_were_of_others(
    kernel: Kernel, identity: Identity
) -> None:
    kills = OomKills(identity)
    assert kills.why() == ""
    kernel.tells(kernel.vmstat, 8)
    assert kills.why() == "probably out of memory"
    kills.look()
    assert kills.why() == ""


@pytest.mark.parametrize(
    ("line", "file"),
    [
        ("4:memory:/box/w", "memory/box/w/memory.oom_control"),
        ("0::/box/w", "box/w/memory.events.local"),
        ("0::/box/w", "box/w/memory.events"),
        ("0::/", "memory.events"),
    ],
)
def test_the_group_of_the_worker_is_believed_where_there_is_one(
    kernel: Kernel, identity: Identity, line: str, file: str
) -> None:
    group = kernel.put_in_group(line, file, 3)
    kills = OomKills(identity)
    kernel.tells(kernel.vmstat, 8)
    assert kills.why() == "", "somebody else's group"
    kernel.tells(group, 4)
    assert kills.why() == "out of memory"
    group.unlink()
    assert kills.why() == ""


def test_the_report_of_a_dead_worker_tells_nothing(
    kernel: Kernel, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = kernel.put_in_group("0::/box", "box/memory.events", 3)
    kills = OomKills(identity)
    kernel.tells(group, 4)
    monkeypatch.setattr(processes, "is_alive", lambda _: False)
    kills.look()
    assert kills.why() == "out of memory"


def test_where_the_kernel_counts_none_there_was_none(kernel: Kernel, identity: Identity) -> None:
    kernel.vmstat.unlink()
    assert OomKills(identity).why() == ""
