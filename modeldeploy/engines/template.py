"""Workers forked from a warm template: there at once, their memory shared (Linux).

Where it cannot be had — another system, a template that died, one that is not ready and not coming
— workers are spawned plainly, by the engine that this one falls back to.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from modeldeploy import paths
from modeldeploy.engines.base import StartedWorker
from modeldeploy.engines.local import LocalEngine, worker_environment
from modeldeploy.schema.worker import ForkAnswer, ForkOrder, WorkerSpec

log = logging.getLogger(__name__)

_REPLY_SECONDS = 5.0
_END_SECONDS = 2.0
_AGAIN_SECONDS = 30.0
_MESSAGE_BYTES = 64 * 1024
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
    """Made in the supervisor's loop, of which ``on_ready`` is called each time workers can be
    started again."""

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
        self._retry: asyncio.TimerHandle | None = None
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
        self._retry = None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        output = paths.private_open(self._log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "modeldeploy.worker.template"],
                stdin=theirs.fileno(),
                stdout=output,
                stderr=output,
                env=self._environment,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            log.warning("no warm template: %s", error)
            ours.close()
            return
        finally:
            theirs.close()
            os.close(output)
        ours.settimeout(_REPLY_SECONDS)
        self._control = ours
        self._loop.add_reader(ours, self._heard)

    def _heard(self) -> None:
        """It is ready, or it has ended."""
        answer = self._receive()
        if answer is None or answer.error:
            log.warning("the warm template ended: %s", answer.error if answer else "see above")
            self._give_up()
            self._retry = self._loop.call_later(_AGAIN_SECONDS, self._launch)
        else:
            self._warm = True
            log.info("the template is warm")
        self._on_ready()

    def _receive(self) -> ForkAnswer | None:
        assert self._control is not None
        with contextlib.suppress(OSError, msgspec.DecodeError):
            raw = self._control.recv(_MESSAGE_BYTES)
            return msgspec.json.decode(raw, type=ForkAnswer)
        return None

    def _give_up(self) -> None:
        self._warm = False
        if self._control:
            self._loop.remove_reader(self._control)
            self._control.close()
            self._control = None
        if self._process:
            try:
                self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def start(
        self, spec: WorkerSpec, spec_file: str, listener: socket.socket, leash: int
    ) -> StartedWorker:
        """Forked, or spawned where that is not possible.

        Raises:
            OSError: neither.
        """
        pid = self._fork(spec, spec_file, listener, leash) if self._warm else None
        return ForkedWorker(pid) if pid else self._plain.start(spec, spec_file, listener, leash)

    def _fork(
        self, spec: WorkerSpec, spec_file: str, listener: socket.socket, leash: int
    ) -> int | None:
        assert self._control is not None
        output = paths.private_open(spec.log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        order = msgspec.json.encode(ForkOrder(spec_file=spec_file))
        try:
            socket.send_fds(self._control, [order], [listener.fileno(), output, leash])
            answer = self._receive()
        except OSError:
            answer = None
        finally:
            os.close(output)
        return answer.pid if answer else None

    def close(self) -> None:
        """End the template; workers go on."""
        if self._retry:
            self._retry.cancel()
        self._give_up()


def _become_subreaper() -> None:
    """Workers whose parent ends become our children, so that we learn how they end."""
    if ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        log.warning("prctl(PR_SET_CHILD_SUBREAPER): %s", os.strerror(ctypes.get_errno()))
