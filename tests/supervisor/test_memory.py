"""What counts as a process's memory, and its end when that is too much."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from modeldeploy.supervisor import processes
from modeldeploy.supervisor.memory import MemoryWatch, bound_bytes, taken_bytes
from tests.e2e.instance import eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is the resident size")

MB = 1_000_000
HOLD = """
import mmap, os, sys
kind, size, file = sys.argv[1], int(sys.argv[2]), sys.argv[3]
if kind == "child" and (child := os.fork()):
    print("ready", flush=True)
    sys.stdin.read()
if kind == "mapped":
    with open(file, "rb") as f:
        held = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
    sum(held[::4096])
elif kind == "reserved":
    held = mmap.mmap(-1, size)
else:
    held = bytearray(os.urandom(1)) * size
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def held(tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    found: list[subprocess.Popen[str]] = []
    yield found
    for one in found:
        one.kill()
        one.communicate()


def hold(
    held: list[subprocess.Popen[str]], kind: str, size: int, file: Path | str = ""
) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", HOLD, kind, str(size), str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    held.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_what_it_holds_counts_and_what_is_mapped_or_reserved_does_not(
    held: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    file = tmp_path / "weights"
    file.write_bytes(os.urandom(64 * MB))
    assert taken_bytes(hold(held, "mapped", 0, file).pid) < 40 * MB
    assert taken_bytes(hold(held, "reserved", 500 * MB).pid) < 40 * MB
    pid = hold(held, "held", 64 * MB).pid
    assert 64 * MB < taken_bytes(pid) <= bound_bytes(pid) < 100 * MB


def test_what_its_children_hold_is_its_own(held: list[subprocess.Popen[str]]) -> None:
    process = hold(held, "child", 64 * MB)
    eventually(lambda: taken_bytes(process.pid) > 64 * MB)


def test_whoever_takes_more_is_ended_with_all_it_started(
    held: list[subprocess.Popen[str]],
) -> None:
    modest, greedy = hold(held, "held", MB), hold(held, "child", 64 * MB)
    watched = {}
    for one in (modest, greedy):
        identity = processes.identify(one.pid)
        assert identity is not None
        watched[one.pid] = MemoryWatch(identity, 50 * MB)
    children = psutil.Process(greedy.pid).children()
    eventually(lambda: watched[greedy.pid].taken)
    assert greedy.wait(10) == -9
    psutil.wait_procs(children, timeout=10)
    assert not any(child.is_running() and child.status() != "zombie" for child in children)
    said = watched[greedy.pid].problem(watched[greedy.pid].taken or 0)
    assert said.code == "out_of_memory"
    assert "its limit is 50 MB (--memory)" in said.message
    assert modest.poll() is None
    watched[modest.pid].close()
