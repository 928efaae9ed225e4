"""The interface of whatever runs workers."""

from __future__ import annotations

import socket
from typing import Protocol

from modeldeploy.schema.worker import WorkerSpec


class NotStarted(Exception):
    """Nothing was started, and another try will go another way."""


class StartedWorker(Protocol):
    """A worker process that this engine started."""

    @property
    def pid(self) -> int: ...

    def returncode(self) -> int | None:
        """How it ended, as in :mod:`subprocess`; None while it runs or if that is not known."""
        ...


class Engine(Protocol):
    """Starts workers. The worker leads a process group of its own and inherits ``listener``."""

    @property
    def ready(self) -> bool:
        """Whether workers can be started now; if not, whoever made the engine is told when."""
        ...

    @property
    def warmth(self) -> str:
        """``ready``, ``starting``, or ``off`` where workers are not started from a warm process."""
        ...

    def close(self) -> None:
        """End what the engine keeps beside the workers; they go on."""
        ...

    async def start(
        self, spec: WorkerSpec, spec_file: str, listener: socket.socket, leash: int
    ) -> StartedWorker:
        """Start a worker with ``spec``, which is in ``spec_file`` too. It begins when it reads a byte
        from the pipe ``leash``, and ends where that is closed without one.

        Raises:
            NotStarted: try again. InterpreterUnfit: the one that was asked for. OSError: no process could be started.
        """
        ...
