"""The processes that fetch. One waits for the next fetch: it has imported what talks to the Hub, which takes
longer than all else that a cached model's fetch does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from pathlib import Path

import msgspec

from modeldeploy import paths
from modeldeploy.engines import interpreters
from modeldeploy.engines.environment import without_secrets
from modeldeploy.schema.deployment import Spec
from modeldeploy.schema.fetch import AHEAD, LINE_BYTES, FetchRequest
from modeldeploy.supervisor import processes

log = logging.getLogger(__name__)

_FETCHER = (sys.executable, "-m", "modeldeploy.hub")
_PAUSE_SECONDS = 5.0  # in which what was fetched is loaded
_END_SECONDS = 5.0


class Fetchers:
    """Used in the supervisor's loop. A fetcher that waits is one for the ``endpoint``, and later for the one
    that was asked last: huggingface_hub learns it when it is imported."""

    def __init__(
        self, environment: Mapping[str, str], log_file: Path, endpoint: str | None = None
    ) -> None:
        self._environment = environment
        self._log_file = log_file
        self._endpoint = endpoint
        self._waiting: Process | None = None
        self._next: asyncio.Task[None] | None = None
        self._closed = False

    def keep_one(self) -> None:
        """Have one wait, soon and from then on."""
        if self._next is None:
            self._prepare_after(None)

    async def begin(self, request: FetchRequest) -> Process:
        """A fetcher that has the request.

        Raises:
            InterpreterUnfit: the deployment's own interpreter. OSError: no process could be started.
        """
        log_file = request.log or str(self._log_file)
        process: Process | None = None
        if request.spec.runs_apart and not request.discard:
            process = await self._apart(request.spec, log_file)
        elif not request.discard:
            process = self._take(request.hub.endpoint)
        if process is None:
            process = await self._spawn(_FETCHER, log_file, self._environment)
        if self._next and self._waiting is None and self._next.done():
            self._prepare_after(process)
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(request) + b"\n")
        return process

    async def _apart(self, spec: Spec, log_file: str) -> Process:
        """One where the deployment's worker will run: what its model needs has to be there."""
        python, *command = _FETCHER
        environment = {**self._environment, **spec.env}
        if spec.python:
            python = spec.python
            await interpreters.examine(python, without_secrets(environment), log_file)
        return await self._spawn((python, *command), log_file, environment)

    def _take(self, endpoint: str | None) -> Process | None:
        """The one that waits, if it hears us and is one for this endpoint; the next will be."""
        fits, self._endpoint = endpoint == self._endpoint, endpoint
        process, self._waiting = self._waiting, None
        if process is None or process.returncode is not None:
            return None  # a pid that is free again may be a stranger's
        if fits and processes.is_awake(process.pid):
            return process
        _kill(process)
        return None

    def _prepare_after(self, fetch: Process | None) -> None:
        if not self._closed:
            self._next = asyncio.ensure_future(self._prepare(fetch))

    async def _prepare(self, fetch: Process | None) -> None:
        if fetch:
            await fetch.wait()
        await asyncio.sleep(_PAUSE_SECONDS)
        environment = {**self._environment}
        if self._endpoint:
            if "@" in self._endpoint:  # with a password, which is for nobody's environment
                return
            environment["HF_ENDPOINT"] = self._endpoint
        try:
            self._waiting = await self._spawn((*_FETCHER, AHEAD), self._log_file, environment)
        except OSError as error:  # the next fetch does without
            log.warning("no fetcher waits for the next fetch: %s", error)

    async def _spawn(
        self, command: tuple[str, ...], log_file: str | Path, environment: Mapping[str, str]
    ) -> Process:
        with paths.appending(log_file) as output:
            return await asyncio.create_subprocess_exec(
                *command,
                stdin=PIPE,
                stdout=PIPE,
                stderr=output,
                env=dict(environment),
                cwd="/",
                start_new_session=True,
                limit=LINE_BYTES,
            )

    async def close(self) -> None:
        """None waits any more."""
        self._closed = True
        if self._next:
            self._next.cancel()
            await asyncio.wait({self._next})
        process, self._waiting = self._waiting, None
        if process:
            _kill(process)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(process.wait(), _END_SECONDS)


def _kill(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
