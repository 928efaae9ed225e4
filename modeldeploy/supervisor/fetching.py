"""The fetcher as a child process: orders in, progress out, ended by closing its standard input."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Union

import msgspec

from modeldeploy import paths
from modeldeploy.schema.fetch import (
    FetchDiscarded,
    FetchDone,
    FetchFailed,
    FetchLine,
    FetchProgress,
    FetchRequest,
    ResolvedModel,
)
from modeldeploy.schema.problem import Problem
from modeldeploy.supervisor import processes

_GRACE_SECONDS = 5.0
_LINE_BYTES = 1 << 20
_Outcome = Union[ResolvedModel, FetchDiscarded, Problem]
_decode = msgspec.json.Decoder(FetchLine).decode


class FetchJob:
    """One run of the fetcher for one deployment.

    ``on_progress`` gets each line of progress, ``on_end`` once the model, a problem, or neither
    when it was cancelled or was to discard. Both are called in the running loop.
    """

    def __init__(
        self,
        request: FetchRequest,
        log: Path,
        environment: Mapping[str, str],
        on_progress: Callable[[FetchProgress], None],
        on_end: Callable[[ResolvedModel | None, Problem | None], None],
    ) -> None:
        self._request = request
        self._log = log
        self._environment = environment
        self._on_progress = on_progress
        self._on_end = on_end
        self._cancelled = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run())

    def cancel(self) -> None:
        """Ask the fetcher to end; what it has of a file stays for the next time."""
        self._cancelled.set()

    async def _run(self) -> None:
        outcome: _Outcome
        try:
            outcome = await self._fetch()
        except OSError as error:
            outcome = Problem(code="internal_error", message=f"the fetcher did not start: {error}")
        if self._cancelled.is_set():
            self._on_end(None, None)
        elif isinstance(outcome, ResolvedModel):
            self._on_end(outcome, None)
        else:
            self._on_end(None, outcome if isinstance(outcome, Problem) else None)

    async def _fetch(self) -> _Outcome:
        process = await self._spawn()
        reader = asyncio.ensure_future(self._read(process))
        cancelled = asyncio.ensure_future(self._cancelled.wait())
        try:
            await asyncio.wait({reader, cancelled}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            cancelled.cancel()
            await self._end(process)
        outcome = await reader
        return outcome or Problem(
            code="internal_error",
            message=f"the fetcher {processes.describe_exit(process.returncode)}",
            hint="modeldeploy start NAME goes on where it stopped",
        )

    async def _spawn(self) -> asyncio.subprocess.Process:
        log = paths.private_open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "modeldeploy.hub",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=dict(self._environment),
                start_new_session=True,
                limit=_LINE_BYTES,
            )
        finally:
            os.close(log)
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(self._request) + b"\n")
        return process

    async def _read(self, process: asyncio.subprocess.Process) -> _Outcome | None:
        assert process.stdout is not None
        outcome: _Outcome | None = None
        async for raw in process.stdout:
            line = _decode(raw)
            if isinstance(line, FetchProgress):
                self._on_progress(line)
            elif isinstance(line, FetchDone):
                outcome = line.model
            elif isinstance(line, FetchFailed):
                outcome = line.problem
            else:
                outcome = line
        return outcome

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), _GRACE_SECONDS)
        except asyncio.TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
