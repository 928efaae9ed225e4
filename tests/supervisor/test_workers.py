"""What is left of a worker that could not be started, and what an orphan is given."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from modeldeploy import paths
from modeldeploy.engines.base import StartedWorker
from modeldeploy.engines.local import LocalWorker
from modeldeploy.supervisor import orphans, processes, workers
from modeldeploy.supervisor.orphans import Orphans
from modeldeploy.supervisor.ports import PortPool
from modeldeploy.supervisor.workers import Worker
from tests.worker.specs import worker_spec

_ANSWERS_FIRST = (
    'trap "sleep 0.3; echo answered; exit" TERM; echo ready; while :; do sleep 0.05; done'
)


def full(*_: object) -> Any:
    raise OSError(errno.ENOSPC, "no room")


class Process:
    """It has ended by the time that somebody looks."""

    pid = 2**22 + 1  # no such process

    def returncode(self) -> int | None:
        return 1


class Engine:
    ready, warmth = True, "off"

    def __init__(self, *, fails: bool) -> None:
        self._fails = fails

    def close(self) -> None:
        """There is nothing to end."""

    async def start(self, *_: object) -> StartedWorker:
        return full() if self._fails else Process()


def only(count: int, start: Callable[[threading.Thread], None]) -> Callable[..., None]:
    """So many threads may be started."""
    left = iter(range(count))

    def started(thread: threading.Thread) -> None:
        if next(left, None) is None:
            raise RuntimeError("can't start new thread")  # CPython's words, and its kind of error
        start(thread)

    return started


class RealEngine(Engine):
    """Of one process that lives for a while."""

    async def start(self, *_: object) -> StartedWorker:
        process = subprocess.Popen(["sleep", "60"], start_new_session=True)
        self.pid = process.pid
        return LocalWorker(process)


@pytest.mark.parametrize("short", [None, (os, "pipe"), (workers, "_write"), (processes, "watch")])
def test_nothing_is_left_of_a_worker_that_could_not_be_started(
    short: tuple[Any, str] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = paths.locate(str(tmp_path / "h")).make()

    async def story() -> None:
        reserved = PortPool(20000, 60000).reserve_any(None, ())
        spec = worker_spec(tmp_path, "echo", reserved.port)
        before = len(list(Path("/dev/fd").iterdir()))
        if short:
            monkeypatch.setattr(*short, full)
        engine = Engine(fails=short is None)
        with pytest.raises(OSError, match="no room"):
            await Worker.start(engine, spec, 1, reserved, where, lambda _: None, None, time.time)
        assert len(list(Path("/dev/fd").iterdir())) == before
        reserved.close()

    asyncio.run(story())
    assert list(where.run.iterdir()) == []


def test_an_orphan_answers_what_it_has_when_the_supervisor_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = paths.locate(str(tmp_path / "h")).make()
    left = where.worker_spec("0123456789ab")
    left.touch()
    command = ["/bin/sh", "-c", _ANSWERS_FIRST]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        monkeypatch.setattr(orphans, "_alive", lambda _: processes.identify(process.pid))

        async def story() -> None:
            await Orphans(where, set(), 60.0).end()

        asyncio.run(story())
        assert process.stdout.read() == b"answered\n"
    assert not left.exists()


@pytest.mark.parametrize(("threads", "memory"), [(0, None), (0, 10**9), (1, 10**9)])
@pytest.mark.promise(2, fault="the system has no thread for the one who would hear the worker")
def test_a_worker_that_nobody_can_hear_is_none_and_may_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int, memory: int | None
) -> None:
    where = paths.locate(str(tmp_path / "h")).make()
    before = threading.active_count()
    monkeypatch.setattr(threading.Thread, "start", only(threads, threading.Thread.start))
    engine = RealEngine(fails=False)

    async def story() -> None:
        reserved = PortPool(20000, 60000).reserve_any(None, ())
        spec = worker_spec(tmp_path, "echo", reserved.port)
        with pytest.raises(OSError, match="can't start new thread") as raised:
            await Worker.start(engine, spec, 1, reserved, where, lambda _: None, memory, time.time)
        assert raised.value.errno == errno.EAGAIN
        assert not psutil.pid_exists(engine.pid), "nor is a zombie left"
        reserved.close()

    asyncio.run(story())
    assert list(where.run.iterdir()) == []
    while threading.active_count() > before:  # the one that there was hears of it
        time.sleep(0.02)
