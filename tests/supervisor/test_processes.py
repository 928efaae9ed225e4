from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import psutil
import pytest
from msgspec.structs import replace

from modeldeploy.supervisor import processes

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.mark.promise(1, fault="a pid that another process has by now")
def test_a_process_is_known_by_more_than_its_pid() -> None:
    child = subprocess.Popen(SLEEP, start_new_session=True)
    identity = processes.identify(child.pid)
    assert identity is not None
    assert processes.is_alive(identity)
    for other in (
        replace(identity, start=identity.start + 1),
        replace(identity, boot="another boot"),
        replace(identity, namespace="pid:[1]"),
    ):
        assert not processes.is_alive(other)
        processes.kill_group(other)
    assert child.poll() is None, "a stranger with the same pid was killed"
    processes.kill_group(identity)
    assert child.wait(5) == -signal.SIGKILL
    assert not processes.is_alive(identity)


@pytest.mark.promise(5, fault="a process whose child ignores SIGTERM")
def test_the_group_dies_with_whatever_it_started() -> None:
    code = f"import subprocess, sys; p = subprocess.Popen({SLEEP!r}); print(p.pid, flush=True); p.wait()"
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True, text=True
    )
    assert child.stdout is not None
    grandchild = int(child.stdout.readline())
    identity = processes.identify(child.pid)
    assert identity is not None
    os.kill(child.pid, signal.SIGKILL)
    child.wait(5)
    assert psutil.pid_exists(grandchild)
    processes.kill_group(identity)  # the leader is dead already
    deadline = 5.0
    while processes.identify(grandchild) and deadline > 0:
        deadline -= 0.05
        asyncio.run(asyncio.sleep(0.05))
    assert processes.identify(grandchild) is None
    child.stdout.close()


def test_the_end_of_a_process_is_noticed_once() -> None:
    async def scenario() -> int:
        child = subprocess.Popen(SLEEP, start_new_session=True)
        identity = processes.identify(child.pid)
        assert identity is not None
        ended = asyncio.Event()
        calls: list[int] = []

        def on_end() -> None:
            calls.append(1)
            ended.set()

        processes.watch(identity, on_end)
        await asyncio.sleep(0.05)
        assert not calls
        child.kill()
        await asyncio.wait_for(ended.wait(), 5)
        child.wait(5)
        await asyncio.sleep(0.05)
        return len(calls)

    assert asyncio.run(scenario()) == 1


@pytest.mark.parametrize(
    ("code", "why", "words"),
    [
        (3, "out of memory", "ended with exit code 3"),
        (-11, "out of memory", "was killed by SIGSEGV"),
        (-9, "out of memory", "was killed by SIGKILL: out of memory"),
        (-9, "", "was killed by SIGKILL"),
        (None, "", "is not known)"),
    ],
)
@pytest.mark.promise(2, fault="each way for a process to end")
def test_an_end_is_put_in_words(code: int | None, why: str, words: str) -> None:
    assert processes.describe_exit(code, why).endswith(words)
