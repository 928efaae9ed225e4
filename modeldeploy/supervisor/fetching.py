"""The fetcher as a child process: orders in, progress out, ended by closing its standard input."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any, Union

import msgspec

from modeldeploy.errors import DownloadTimeout, ModelDeployError
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
from modeldeploy.supervisor.fetchers import Fetchers

log = logging.getLogger(__name__)

_GRACE_SECONDS = 5.0
_MARGIN_SECONDS = 10.0  # past its own deadline: then it does not hear its own clock
_DISCARD_SECONDS = 60.0
_Outcome = Union[ResolvedModel, FetchDiscarded, Problem]
_decode = msgspec.json.Decoder(FetchLine).decode


class FetchJob:
    """One run of the fetcher for one deployment.

    ``on_progress`` gets each line of progress, ``on_end`` once the model, a problem, or neither
    when it was cancelled or was to discard. Both are called in the running loop. Whatever the
    fetcher does, it ends: it bounds a download itself, and where it does not, it is killed.
    """

    def __init__(
        self,
        request: FetchRequest,
        fetchers: Fetchers,
        on_progress: Callable[[FetchProgress], None],
        on_end: Callable[[ResolvedModel | None, Problem | None], None],
    ) -> None:
        self._request = request
        self._fetchers = fetchers
        self._on_progress = on_progress
        self._on_end = on_end
        self._cancelled = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run())

    def cancel(self) -> None:
        """Ask the fetcher to end; what it has of a file stays for the next time."""
        self._cancelled.set()

    async def _run(self) -> None:
        outcome: _Outcome | None
        try:
            outcome = await self._fetch()
        except ModelDeployError as error:
            outcome = error.problem()
        except OSError as error:
            outcome = Problem(code="internal_error", message=f"the fetcher did not start: {error}")
        except Exception as error:  # a deployment whose fetch never ends could not be removed
            log.exception("a fetch failed")
            outcome = Problem(code="internal_error", message=f"the fetch failed: {error!r}")
        if self._cancelled.is_set():
            self._on_end(None, None)
        elif isinstance(outcome, ResolvedModel):
            self._on_end(outcome, None)
        else:
            self._on_end(None, outcome if isinstance(outcome, Problem) else None)

    async def _fetch(self) -> _Outcome | None:
        cancelled = asyncio.ensure_future(self._cancelled.wait())
        try:
            process = await self._begun(cancelled)
            return await self._followed(process, cancelled) if process else None
        finally:
            cancelled.cancel()

    async def _begun(self, cancelled: asyncio.Future[Any]) -> asyncio.subprocess.Process | None:
        """A fetcher, unless it is cancelled before there is one."""
        beginning = asyncio.ensure_future(self._fetchers.begin(self._request))
        await asyncio.wait({beginning, cancelled}, return_when=asyncio.FIRST_COMPLETED)
        if not beginning.done():
            beginning.cancel()
            await asyncio.wait({beginning})
        return None if beginning.cancelled() else beginning.result()

    async def _followed(
        self, process: asyncio.subprocess.Process, cancelled: asyncio.Future[Any]
    ) -> _Outcome:
        """What comes of it, heard to its end."""
        reader = asyncio.ensure_future(self._read(process))
        try:
            done, _ = await asyncio.wait(
                {reader, cancelled}, timeout=self._deadline, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            await self._end(process)
        outcome = await reader
        if not done:
            return self._timed_out()
        return outcome or Problem(
            code="internal_error",
            message=f"the fetcher {processes.describe_exit(process.returncode)}",
            hint="modeldeploy logs NAME may tell why; modeldeploy start NAME goes on where it stopped",
        )

    @property
    def _deadline(self) -> float:
        """When it is past any deadline of its own, in seconds from its start."""
        seconds = self._request.spec.download_timeout
        return _MARGIN_SECONDS + (
            min(seconds, _DISCARD_SECONDS) if self._request.discard else seconds
        )

    def _timed_out(self) -> Problem:
        seconds = self._request.spec.download_timeout
        return DownloadTimeout(
            f"the fetcher was not done after {seconds:g} s (MAX_DOWNLOAD_TIMEOUT), "
            "did not say so, and was killed",
            hint="`modeldeploy start NAME` goes on where it stopped",
        ).problem()

    async def _read(self, process: asyncio.subprocess.Process) -> _Outcome | None:
        assert process.stdout is not None
        outcome: _Outcome | None = None
        try:
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
        except (ValueError, msgspec.DecodeError) as error:  # ValueError: it is too long
            log.error("the fetcher, pid %d, said what cannot be read: %s", process.pid, error)
            outcome = Problem(
                code="internal_error",
                message="the fetcher said something that cannot be read",
                hint="this is a bug in modeldeploy: please report it with the supervisor's log",
            )
        return outcome

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        """It, and whatever it started."""
        assert process.stdin is not None
        identity = processes.identify(process.pid)
        process.stdin.close()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(process.wait(), _GRACE_SECONDS)
        if identity:
            processes.kill_group(identity)
        await process.wait()
