"""Workers as processes on this machine."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import ClassVar

from modeldeploy import paths
from modeldeploy.engines import interpreters
from modeldeploy.engines.environment import worker_environment
from modeldeploy.schema.worker import WorkerSpec
from modeldeploy.transport import LEASH_FD, LISTEN_FD


class LocalWorker:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def returncode(self) -> int | None:
        return self._process.poll()


class LocalEngine:
    """Starts each worker as a fresh interpreter: its deployment's own, or ours."""

    command: ClassVar[tuple[str, ...]] = (sys.executable, "-m", "modeldeploy.worker")

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    ready = True
    warmth = "off"

    def close(self) -> None:
        """Nothing is kept."""

    async def start(
        self, spec: WorkerSpec, spec_file: str, listener: socket.socket, leash: int
    ) -> LocalWorker:
        env = worker_environment(self._environment, spec.threads, spec.env)
        if spec.python:  # it may have changed since the model was fetched
            await interpreters.examine(spec.python, env, spec.log_file)
        env[LISTEN_FD] = str(listener.fileno())
        env[LEASH_FD] = str(leash)
        return self._spawn(spec, spec_file, env, [listener.fileno(), leash])

    def _spawn(
        self, spec: WorkerSpec, spec_file: str, env: dict[str, str], fds: list[int]
    ) -> LocalWorker:
        python, *command = self.command
        with paths.appending(spec.log_file) as log:
            process = subprocess.Popen(
                [spec.python or python, *command, spec_file],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=env,
                cwd="/",
                pass_fds=fds,
                start_new_session=True,
            )
        return LocalWorker(process)
