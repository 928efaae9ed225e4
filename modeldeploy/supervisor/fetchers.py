"""The processes that fetch. One waits for the next fetch: it has imported what talks to the Hub, which takes
longer than all else that a cached model's fetch does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from modeldeploy import paths
from modeldeploy.schema.fetch import AHEAD, LINE_BYTES, FetchRequest
from modeldeploy.supervisor import processes

log = logging.getLogger(__name__)

_FETCHER = (sys.executable, "-m", "modeldeploy.hub")
_PAUSE_SECONDS = 5.0  # after a fetch, whose model is being loaded then


class Fetchers:
    """Used in the supervisor's loop. A fetcher that waits is one for the ``endpoint``, and later for the one
    that was asked last: huggingface_hub learns it when it is imported."""

    def __init__(
        self, environment: Mapping[str, str], log_file: Path, endpoint: str | None = None
    ) -> None:
        self._environment = environment
        self._log_file = log_file
        self._endpoint = endpoint
        self._waiting: asyncio.subprocess.Process | None = None
        self._next: asyncio.Task[None] | None = None

    def keep_one(self) -> None:
        """Have one wait, from now on."""
        if self._next is None:
            self._next = asyncio.ensure_future(self._prepare(0.0))

    async def begin(self, request: FetchRequest) -> asyncio.subprocess.Process:
        """A fetcher that has the request.

        Raises:
            OSError: no process could be started.
        """
        process = self._take(request.hub.endpoint)
        if process is None:
            process = await self._spawn(_FETCHER, self._environment)
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(request) + b"\n")
        return process

    def _take(self, endpoint: str | None) -> asyncio.subprocess.Process | None:
        """The one that waits, if it is one for this endpoint; the next will be."""
        fits = endpoint == self._endpoint
        process, self._endpoint = self._waiting, endpoint
        if self._next and (process or not fits):
            self._next.cancel()
            self._waiting = None
            self._next = asyncio.ensure_future(self._prepare(_PAUSE_SECONDS))
        if process and not (fits and processes.is_awake(process.pid)):
            _end(process)
            return None
        return process

    async def _prepare(self, pause: float) -> None:
        await asyncio.sleep(pause)
        environment = {**self._environment}
        if self._endpoint:
            environment["HF_ENDPOINT"] = self._endpoint
        try:
            self._waiting = await self._spawn((*_FETCHER, AHEAD), environment)
        except OSError as error:  # the next fetch does without
            log.warning("no fetcher waits for the next fetch: %s", error)

    async def _spawn(
        self, command: tuple[str, ...], environment: Mapping[str, str]
    ) -> asyncio.subprocess.Process:
        output = paths.private_open(self._log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            return await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=output,
                env=dict(environment),
                start_new_session=True,
                limit=LINE_BYTES,
            )
        finally:
            os.close(output)

    async def close(self) -> None:
        """None waits any more."""
        if self._next:
            self._next.cancel()
            await asyncio.wait({self._next})
        process, self._waiting = self._waiting, None
        if process:
            _end(process)
            await process.wait()


def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
