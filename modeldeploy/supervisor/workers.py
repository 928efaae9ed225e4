"""One worker process as its supervisor sees it: started here, or found alive and adopted."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from modeldeploy import paths
from modeldeploy.engines.base import Engine, StartedWorker
from modeldeploy.schema.problem import Problem
from modeldeploy.schema.threads import Threads
from modeldeploy.schema.worker import WorkerReport, WorkerSpec
from modeldeploy.supervisor import links, logs, processes
from modeldeploy.supervisor.memory import MemoryWatch
from modeldeploy.supervisor.oom import OomKills
from modeldeploy.supervisor.plan import WorkerSeen
from modeldeploy.supervisor.ports import Reservation
from modeldeploy.supervisor.processes import Identity
from modeldeploy.supervisor.record import ReplicaRecord

_DETAIL_LINES = 15
_REAP_TRIES, _REAP_PAUSE_SECONDS = 100, 0.01
_DEATH_SECONDS = 5.0  # a killed process has, at most, a lot of memory to give back


def new_replica_id() -> str:
    return secrets.token_hex(6)


@dataclass(frozen=True)
class Found:
    """A live worker of an earlier supervisor; no ``report`` where it speaks as another version's do,
    no ``listener`` where it does not give it."""

    report: WorkerReport | None
    listener: socket.socket | None


def look_for(record: ReplicaRecord, where: paths.Paths) -> Found | None:
    """The worker of an earlier supervisor, if it lives and says that it is the one. Blocks; one that
    hangs is ended, and its port free, on return."""
    if not processes.is_alive(record.identity):
        return None
    try:
        report = links.ask_status(where.worker_socket(record.id))
    except msgspec.DecodeError:
        return Found(None, _listener(record, where))  # that it is the one its identity says
    if report is None:
        processes.kill_group(record.identity)
        processes.wait_end(record.identity, _DEATH_SECONDS)
        return None
    is_the_one = (report.replica, report.pid) == (record.id, record.identity.pid)
    return Found(report, _listener(record, where)) if is_the_one else None


def _listener(record: ReplicaRecord, where: paths.Paths) -> socket.socket | None:
    return links.ask_listener(where.worker_handover(record.id))


def _write(file: Path, content: bytes) -> None:
    with open(file, "wb", opener=paths.private_open) as stream:
        stream.write(content)


async def _end(started: StartedWorker, identity: Identity) -> None:
    """One that nobody watches: no zombie of it is to stay."""
    processes.kill_group(identity)
    for _ in range(_REAP_TRIES):
        if started.returncode() is not None:
            return
        await asyncio.sleep(_REAP_PAUSE_SECONDS)


class Worker:
    """A live worker: its process is watched, its reports are heard.

    ``seen`` is what the planner gets; ``on_change`` is called in the loop whenever that or the
    latest ``report`` changed. ``cause`` is what its end is put down to where it is ours.
    """

    def __init__(
        self,
        record: ReplicaRecord,
        where: paths.Paths,
        deployment: str,
        on_change: Callable[[Worker], None],
        clock: Callable[[], float],
        started: StartedWorker | None = None,
        log_start: int = 0,
        leash: int | None = None,
        memory: int | None = None,
    ) -> None:
        self.record = record
        self.report: WorkerReport | None = None
        self.cause: Problem | None = None
        now = clock()
        self.seen = WorkerSeen(run=record.run, started_at=now, last_heard=now)
        self._clock = clock
        self._paths = where
        self._deployment = deployment
        self._on_change = on_change
        self._started = started
        self._oom_kills = OomKills(record.identity)
        self._log_start = log_start
        self._leash = leash
        self._ordering: asyncio.Future[bool] | None = None
        # First, for where files are short it fails, and nothing else must be left then.
        self._stop_watching = processes.watch(record.identity, self._ended)
        with contextlib.ExitStack() as undoing:
            undoing.callback(self._stop_watching)
            try:
                self._link = links.WorkerLink(where.worker_socket(record.id), self._heard)
                undoing.callback(self._link.close)
                self._memory = MemoryWatch(record.identity, memory) if memory else None
            except RuntimeError as error:  # the system has no thread for us
                raise OSError(errno.EAGAIN, str(error)) from error
            undoing.pop_all()

    @classmethod
    async def start(
        cls,
        engine: Engine,
        spec: WorkerSpec,
        run: int,
        listener: Reservation,
        where: paths.Paths,
        on_change: Callable[[Worker], None],
        memory: int | None,
        clock: Callable[[], float],
    ) -> Worker:
        """Start a worker that accepts from ``listener``, and does nothing before it is told that it
        is on record (:meth:`go`): should we die before, so will it. ``memory`` is how many bytes it
        may take.

        Raises:
            NotStarted: try again. InterpreterUnfit. OSError: no process could be started.
        """
        spec_file = where.worker_spec(spec.replica)
        with contextlib.ExitStack() as undoing:
            undoing.callback(spec_file.unlink, missing_ok=True)
            _write(spec_file, msgspec.json.encode(spec))
            log_start = logs.size(where.deployment_log(spec.deployment))
            reader, leash = os.pipe()
            undoing.callback(os.close, leash)  # what was started after all ends with it
            try:
                started = await engine.start(spec, str(spec_file), listener.listen(), reader)
            finally:
                os.close(reader)
            identity = processes.identify(started.pid) or Identity(started.pid, -1.0, "", "")
            record = ReplicaRecord(
                id=spec.replica, identity=identity, started_at=time.time(), run=run
            )
            try:
                worker = cls(
                    record,
                    where,
                    spec.deployment,
                    on_change,
                    clock,
                    started,
                    log_start,
                    leash,
                    memory,
                )
            except OSError:
                await _end(started, identity)
                raise
            undoing.pop_all()
        return worker

    @classmethod
    def adopt(
        cls,
        record: ReplicaRecord,
        found: Found,
        where: paths.Paths,
        deployment: str,
        on_change: Callable[[Worker], None],
        memory: int | None,
        clock: Callable[[], float],
    ) -> Worker:
        """The worker of an earlier supervisor, as :func:`look_for` found it."""
        worker = cls(record, where, deployment, on_change, clock, memory=memory)
        if found.report:
            worker._take(found.report)
        return worker

    def go(self) -> None:
        """It is on record, so that whoever supervises after us knows it: let it begin."""
        if self._leash is not None:
            with contextlib.suppress(OSError):  # it has ended already
                os.write(self._leash, b".")
            self._let_loose()

    def _let_loose(self) -> None:
        if self._leash is not None:
            os.close(self._leash)
            self._leash = None

    def _heard(self, report: WorkerReport) -> None:
        if report.replica == self.record.id and self.seen.ended is None:
            self._take(report)
            self._on_change(self)

    def _take(self, report: WorkerReport) -> None:
        self.report = report
        self._oom_kills.look()
        self.seen = replace(
            self.seen,
            last_heard=self._clock(),
            ready=report.phase == "ready",
            problem=report.problem if report.phase == "failed" else None,
        )

    def _ended(self) -> None:
        self._link.close()
        self._let_loose()
        processes.kill_group(self.record.identity)  # what it started must not outlive it
        if self._memory:
            self._memory.close()
        returncode = self._started.returncode() if self._started else None  # reaps it, too
        self.seen = replace(self.seen, ended=self._problem(returncode))
        self._clean_up()
        self._on_change(self)

    def _problem(self, returncode: int | None) -> Problem:
        if self._memory and self._memory.taken:
            return self._memory.problem(self._memory.taken)
        log_file = self._paths.deployment_log(self._deployment)
        details = logs.last_lines(log_file, _DETAIL_LINES, self._log_start)
        return msgspec.structs.replace(self.cause or self._death(returncode), details=details)

    def _death(self, returncode: int | None) -> Problem:
        how = processes.describe_exit(returncode, self._oom_kills.why())
        return Problem(
            code="worker_died",
            message=f"the worker process {how}",
            hint=f"see modeldeploy logs {self._deployment}",
        )

    def _clean_up(self) -> None:
        for file in (
            self._paths.worker_socket(self.record.id),
            self._paths.worker_handover(self.record.id),
            self._paths.worker_spec(self.record.id),
        ):
            with contextlib.suppress(OSError):
                file.unlink()

    def drain(self) -> None:
        """Ask it to answer what it has accepted and end."""
        self.seen = replace(self.seen, drain_since=self._clock())
        asyncio.get_running_loop().run_in_executor(None, self._ask_drain)

    def _ask_drain(self) -> None:
        if not links.ask_drain(self._paths.worker_socket(self.record.id)):
            processes.kill_group(self.record.identity, signal.SIGTERM)

    def use_threads(self, threads: Threads) -> None:
        """Have it compute with so many, if its latest report says something else. Told again with
        each report until it is so."""
        is_so = self.report is None or self.report.threads in (threads, None)
        if is_so or (self._ordering and not self._ordering.done()):
            return
        socket = self._paths.worker_socket(self.record.id)
        self._ordering = asyncio.get_running_loop().run_in_executor(
            None, links.order_threads, socket, threads
        )

    def kill(self) -> None:
        """End its whole process group, whatever it ignores."""
        self.seen = replace(self.seen, killed=True)
        processes.kill_group(self.record.identity)

    def let_go(self) -> None:
        """Stop watching and listening; the process goes on, if it was on record."""
        self._let_loose()
        self._link.close()
        if self._memory:
            self._memory.close()
        self._stop_watching()
