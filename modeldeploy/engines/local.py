"""Workers as processes on this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import ClassVar

from modeldeploy import apikeys, paths
from modeldeploy.schema.worker import WorkerSpec
from modeldeploy.transport import LEASH_FD, LISTEN_FD

_SECRETS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN", apikeys.VARIABLE)


class LocalWorker:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def returncode(self) -> int | None:
        return self._process.poll()


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """What may be handed to a process that does not speak to the Hub."""
    return {key: value for key, value in environment.items() if key not in _SECRETS}


def worker_environment(environment: Mapping[str, str], threads: int) -> dict[str, str]:
    """A worker's environment: offline, telling nobody, without the Hub token, its threads bounded.

    ``OMP_WAIT_POLICY`` and ``GOMP_SPINCOUNT`` must be there before libgomp is loaded: spinning
    threads of two workers on the same cores cost fifty times (docs/architecture.md).
    """
    env = without_secrets(environment)
    env.update(
        HF_HUB_OFFLINE="1",
        HF_HUB_DISABLE_IMPLICIT_TOKEN="1",  # noqa: S106 - a switch, no password
        HF_HUB_DISABLE_TELEMETRY="1",
        ORT_DISABLE_TELEMETRY="1",
        DISABLE_SAFETENSORS_CONVERSION="1",
        TOKENIZERS_PARALLELISM="false",
        OMP_NUM_THREADS=str(threads),
        OMP_WAIT_POLICY="PASSIVE",
        GOMP_SPINCOUNT="5000",
        OPENBLAS_NUM_THREADS="1",
        PYTHONUNBUFFERED="1",
    )
    return env


class LocalEngine:
    """Starts each worker as a fresh interpreter."""

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
        return self._spawn(spec, spec_file, listener, leash)

    def _spawn(
        self, spec: WorkerSpec, spec_file: str, listener: socket.socket, leash: int
    ) -> LocalWorker:
        env = worker_environment(self._environment, spec.threads)
        env[LISTEN_FD] = str(listener.fileno())
        env[LEASH_FD] = str(leash)
        log = paths.private_open(spec.log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            process = subprocess.Popen(
                [*self.command, spec_file],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=env,
                cwd="/",
                pass_fds=[listener.fileno(), leash],
                start_new_session=True,
            )
        finally:
            os.close(log)
        return LocalWorker(process)
