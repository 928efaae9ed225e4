"""Workers forked from a warm template: there at once, their memory shared (Linux).

Where it cannot be had — another system, a template that died, one that is not ready and not coming,
an interpreter or variables of a deployment's own — workers are spawned plainly, by the engine that this one falls back to.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import itertools
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from modeldeploy import paths
from modeldeploy.engines.base import NotStarted, StartedWorker
from modeldeploy.engines.environment import worker_environment
from modeldeploy.engines.local import LocalEngine
from modeldeploy.schema.worker import ForkAnswer, ForkOrder, WorkerSpec

log = logging.getLogger(__name__)

_WARM_SECONDS = 120.0
_REPLY_SECONDS = 5.0
_AGAIN_SECONDS = 30.0
_MESSAGE_BYTES = 64 * 1024
_REAP_TRIES, _REAP_PAUSE = 100, 0.05
_SET_CHILD_SUBREAPER = 36  # prctl(2)


class ForkedWorker:
    """A worker that became our child when its parent ended."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._code: int | None = None

    @property
    def pid(self) -> int:
        return self._pid

    def returncode(self) -> int | None:
        if self._code is None:
            with contextlib.suppress(ChildProcessError):  # adopted by init: how it ended is lost
                pid, status = os.waitpid(self._pid, os.WNOHANG)
                self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code


class TemplateEngine:
    """Made in the supervisor's loop, in which it waits for nothing; ``on_ready`` is called there each
    time workers can be started again. A template that does not answer, because it was stopped, is
    killed, and another started later."""

    def __init__(
        self,
        environment: Mapping[str, str],
        threads: int,
        log_file: Path,
        on_ready: Callable[[], None],
    ) -> None:
        self._environment = worker_environment(environment, threads)
        self._log_file = log_file
        self._on_ready = on_ready
        self._plain = LocalEngine(environment)
        self._loop = asyncio.get_running_loop()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._warm = False
        self._timer: asyncio.TimerHandle | None = None
        self._orders: dict[int, asyncio.Future[int]] = {}
        self._numbers = itertools.count(1)
        _become_subreaper()
        self._launch()

    @property
    def ready(self) -> bool:
        """Whether a start would not have to wait: warm, or given up."""
        return self._warm or self._control is None

    @property
    def warmth(self) -> str:
        if self._warm:
            return "ready"
        return "starting" if self._control else "off"

    def _launch(self) -> None:
        """Start one. Where that cannot be it is tried again: files, memory or the disk were short."""
        try:
            self._process, self._control = self._spawn()
        except OSError as error:
            log.warning("no warm template: %s", error)
            self._timer = self._loop.call_later(_AGAIN_SECONDS, self._launch)
            return
        self._loop.add_reader(self._control, self._heard)
        self._timer = self._loop.call_later(_WARM_SECONDS, self._lose, "does not get ready")

    def _spawn(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        """A template, and our end of the socket to it.

        Raises:
            OSError: nothing is left open.
        """
        with contextlib.ExitStack() as undoing, contextlib.ExitStack() as theirs:
            ours, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            undoing.callback(ours.close)
            theirs.callback(control.close)
            output = theirs.enter_context(paths.appending(self._log_file))
            process = subprocess.Popen(
                [sys.executable, "-m", "modeldeploy.worker.template"],
                stdin=control.fileno(),
                stdout=output,
                stderr=output,
                env=self._environment,
                cwd="/",
                start_new_session=True,
            )
            ours.setblocking(False)
            undoing.pop_all()
        return process, ours

    def _heard(self) -> None:
        """It is ready, or has forked, or has ended."""
        answer = self._receive()
        if answer is None or answer.error:
            self._lose(f"ended: {answer.error if answer else 'see above'}")
        elif answer.pid:
            self._forked(answer)
        else:
            self._warm = True
            self._stop_timer()
            log.info("the template is warm")
            self._on_ready()

    def _receive(self) -> ForkAnswer | None:
        assert self._control is not None
        with contextlib.suppress(OSError, msgspec.DecodeError):
            raw = self._control.recv(_MESSAGE_BYTES)
            return msgspec.json.decode(raw, type=ForkAnswer)
        return None

    def _forked(self, answer: ForkAnswer) -> None:
        order = self._orders.pop(answer.number, None)
        self._expect_answer()
        if order and not order.done():
            order.set_result(answer.pid)
        else:  # whoever ordered it has gone
            self._disown(answer.pid)

    def _lose(self, why: str) -> None:
        if self._control is None:
            return
        log.warning("the warm template %s", why)
        self._give_up()
        self._timer = self._loop.call_later(_AGAIN_SECONDS, self._launch)
        self._on_ready()

    def _give_up(self) -> None:
        self._warm = False
        self._stop_timer()
        if self._control:
            self._loop.remove_reader(self._control)
            self._control.close()
            self._control = None
        if self._process:  # it has nothing to lose
            self._process.kill()
            self._loop.run_in_executor(None, self._process.wait)
            self._process = None
        for order in self._orders.values():
            if not order.done():
                order.set_exception(NotStarted())
        self._orders.clear()

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    async def start(
        self, spec: WorkerSpec, spec_file: str, listener: socket.socket, leash: int
    ) -> StartedWorker:
        """Forked, or spawned where that is not possible, or would not be the interpreter or the
        environment that was asked for.

        Raises:
            NotStarted: the template was lost meanwhile. InterpreterUnfit. OSError: neither is possible.
        """
        if self._warm and not spec.runs_apart:
            return ForkedWorker(await self._fork(spec, spec_file, listener, leash))
        return await self._plain.start(spec, spec_file, listener, leash)

    async def _fork(
        self, spec: WorkerSpec, spec_file: str, listener: socket.socket, leash: int
    ) -> int:
        with paths.appending(spec.log_file) as output:
            number = self._order(spec_file, [listener.fileno(), output, leash])
        answer: asyncio.Future[int] = self._loop.create_future()
        self._orders[number] = answer
        if self._timer is None:
            self._expect_answer()
        try:
            return await answer
        except asyncio.CancelledError:
            if not answer.cancelled() and not answer.exception():  # it came at that very moment
                self._disown(answer.result())
            raise

    def _expect_answer(self) -> None:
        """From now on it has so long for the next one that it owes."""
        self._stop_timer()
        if self._orders:
            self._timer = self._loop.call_later(_REPLY_SECONDS, self._lose, "does not answer")

    def _order(self, spec_file: str, fds: list[int]) -> int:
        """The order's number."""
        assert self._control is not None
        number = next(self._numbers)
        order = msgspec.json.encode(ForkOrder(number=number, spec_file=spec_file))
        try:
            socket.send_fds(self._control, [order], fds)
        except OSError as error:
            self._lose(f"takes no orders: {error}")
            raise NotStarted from error
        return number

    def _disown(self, pid: int) -> None:
        """End a worker that nobody knows; its leash is loose, so it has not begun."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        self._loop.run_in_executor(None, _reap, pid)

    def close(self) -> None:
        """End the template; workers go on."""
        self._give_up()


def _reap(pid: int) -> None:
    """It is our child once the process between has ended, which is about to."""
    for _ in range(_REAP_TRIES):
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
            return
        time.sleep(_REAP_PAUSE)


def _become_subreaper() -> None:
    """Workers whose parent ends become our children, so that we learn how they end."""
    if ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        log.warning("prctl(PR_SET_CHILD_SUBREAPER): %s", os.strerror(ctypes.get_errno()))
