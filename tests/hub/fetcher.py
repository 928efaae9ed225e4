"""The real fetcher process, as the supervisor runs it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from modeldeploy.hub.limits import Limits
from modeldeploy.schema.deployment import HubAccess, Spec
from modeldeploy.schema.fetch import (
    FetchDone,
    FetchFailed,
    FetchLine,
    FetchProgress,
    FetchRequest,
    ResolvedModel,
)
from modeldeploy.schema.problem import Problem
from modeldeploy.schema.stages import Stage

QUICK = Limits(
    hub_timeout=2.0, stall=0.7, attempts=4, first_pause=0.05, longest_pause=0.2, retry_after_cap=1.5
)
_LAUNCH = (
    "import json, sys; from modeldeploy.hub.__main__ import main; "
    "from modeldeploy.hub.limits import Limits; main(Limits(**json.loads(sys.argv[1])))"
)


@dataclass
class Outcome:
    lines: list[FetchLine]
    returncode: int
    stdout: str
    stderr: str

    @property
    def progress(self) -> list[FetchProgress]:
        return [line for line in self.lines if isinstance(line, FetchProgress)]

    @property
    def downloads(self) -> list[FetchProgress]:
        return [line for line in self.progress if line.stage is Stage.DOWNLOAD]

    @property
    def model(self) -> ResolvedModel:
        last = self.lines[-1]
        assert isinstance(last, FetchDone), (last, self.stderr)
        assert self.returncode == 0
        return last.model

    @property
    def problem(self) -> Problem:
        last = self.lines[-1]
        assert isinstance(last, FetchFailed), (last, self.stderr)
        assert self.returncode == 1
        return last.problem


@dataclass
class Fetcher:
    """Starts fetchers on one cache; each has a home of its own, so that no stored token is found."""

    cache: Path
    home: Path
    endpoint: str | None = None
    token: str | None = None
    limits: Limits = QUICK
    env: dict[str, str] = field(default_factory=dict)
    prelude: str = ""  # code to run in the process before it begins

    def request(self, model_id: str, *, offline: bool = False, **spec: Any) -> FetchRequest:
        return FetchRequest(
            spec=Spec(model_id=model_id, cache_dir=str(self.cache), **spec),
            hub=HubAccess(endpoint=self.endpoint, token=self.token, offline=offline),
        )

    def start(self, model_id: str, *, offline: bool = False, **spec: Any) -> Running:
        return Running(self, self.request(model_id, offline=offline, **spec))

    def send(self, line: bytes) -> Outcome:
        """What comes of a first line that may be no request."""
        with Running(self, line) as running:
            return running.finish()

    def run(self, model_id: str, *, offline: bool = False, **spec: Any) -> Outcome:
        with self.start(model_id, offline=offline, **spec) as running:
            return running.finish()

    def model(self, model_id: str, *, offline: bool = False, **spec: Any) -> ResolvedModel:
        return self.run(model_id, offline=offline, **spec).model

    def problem(self, model_id: str, *, offline: bool = False, **spec: Any) -> Problem:
        return self.run(model_id, offline=offline, **spec).problem

    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return {**kept, "HOME": str(self.home), "NO_PROXY": "127.0.0.1", **self.env}


class Running:
    """One fetcher; whatever happens in ``with``, no process and no pipe outlives it."""

    def __init__(self, fetcher: Fetcher, request: FetchRequest | bytes) -> None:
        code, limits = fetcher.prelude + _LAUNCH, json.dumps(asdict(fetcher.limits))
        command = [sys.executable, "-W", "error", "-c", code, limits]
        self.stderr_file = fetcher.home / f"stderr-{os.urandom(4).hex()}"
        with self.stderr_file.open("wb") as stderr:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=fetcher.environment(),
            )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        line = request if isinstance(request, bytes) else msgspec.json.encode(request)
        self.stdin.write(line + b"\n")
        self.stdin.flush()
        self._read: list[bytes] = []

    def lines(self) -> Iterator[FetchLine]:
        for raw in self.stdout:
            self._read.append(raw)
            yield msgspec.json.decode(raw, type=FetchLine)

    def wait_for_bytes(self, count: int) -> FetchProgress:
        """The first line that tells of at least ``count`` bytes."""
        for line in self.lines():
            if isinstance(line, FetchProgress) and line.done_bytes >= count:
                return line
        raise AssertionError((b"".join(self._read), self.stderr_file.read_text()))

    def wait_for(self, words: str) -> FetchProgress:
        """The first line whose message has ``words``."""
        for line in self.lines():
            if isinstance(line, FetchProgress) and words in line.message:
                return line
        raise AssertionError((b"".join(self._read), self.stderr_file.read_text()))

    def finish(self) -> Outcome:
        for _ in self.lines():
            pass
        code = self.process.wait(30)
        raw = b"".join(self._read)
        lines = [msgspec.json.decode(line, type=FetchLine) for line in raw.splitlines()]
        return Outcome(lines, code, raw.decode(), self.stderr_file.read_text())

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait()
        self.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            self.stdin.close()
