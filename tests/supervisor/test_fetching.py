"""A fetch ends, whatever the fetcher does: here it is a script."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import msgspec
import pytest

from modeldeploy.schema.deployment import HubAccess, Spec
from modeldeploy.schema.fetch import LINE_BYTES, FetchProgress, FetchRequest, ResolvedModel
from modeldeploy.schema.problem import Problem
from modeldeploy.schema.stages import Stage
from modeldeploy.supervisor import fetchers, fetching
from modeldeploy.supervisor.fetchers import Fetchers
from modeldeploy.supervisor.fetching import FetchJob

_PROGRESS = msgspec.json.encode(FetchProgress(stage=Stage.VALIDATE, fraction=0.5, message="so far"))
_STOPPED = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"


def fetch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, *, discard: bool = False
) -> tuple[ResolvedModel | Problem | None, list[str]]:
    """What came of it, and what was told on the way."""
    monkeypatch.setattr(fetchers, "_FETCHER", (sys.executable, "-c", script))
    spec = Spec(model_id="org/m", cache_dir=str(tmp_path), download_timeout=0.1 if discard else 1)
    request = FetchRequest(spec=spec, hub=HubAccess(), discard=discard)
    told: list[str] = []

    async def run() -> ResolvedModel | Problem | None:
        ended: asyncio.Future[ResolvedModel | Problem | None] = asyncio.Future()
        FetchJob(
            request,
            Fetchers(os.environ, tmp_path / "log"),
            lambda line: told.append(line.message),
            lambda model, problem: ended.set_result(model or problem),
        )
        return await asyncio.wait_for(ended, 30)

    return asyncio.run(run()), told


@pytest.mark.promise(15, fault="the fetcher says what cannot be read: endless, no JSON, too deep")
@pytest.mark.parametrize(
    "nonsense",
    [
        f"b'x' * {2 * LINE_BYTES}",
        "b'no JSON'",
        'b\'{"type": "zork"}\'',
        "bytes([255])",
        'b\'{"type": "progress", "x": \' + b\'[\' * 200_000',
    ],
)
@pytest.mark.parametrize("then", ["", "import time; time.sleep(600)"])
def test_a_fetcher_that_talks_nonsense_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nonsense: str, then: str
) -> None:
    monkeypatch.setattr(fetching, "_GRACE_SECONDS", 0.1)
    script = (
        f"import sys; out = sys.stdout.buffer; out.write({_PROGRESS!r} + b'\\n');"
        f"out.write({nonsense} + b'\\n'); out.flush()\n{then}"
    )
    outcome, told = fetch(tmp_path, monkeypatch, script)
    assert isinstance(outcome, Problem)
    assert (outcome.code, told) == ("internal_error", ["so far"])


@pytest.mark.promise(12, fault="the fetcher is stopped (SIGSTOP), its own deadline with it")
@pytest.mark.parametrize("discard", [False, True])
def test_a_stopped_fetcher_is_killed_when_its_deadline_is_past(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, discard: bool
) -> None:
    monkeypatch.setattr(fetching, "_MARGIN_SECONDS", 0.5)
    monkeypatch.setattr(fetching, "_GRACE_SECONDS", 0.1)
    outcome, _ = fetch(tmp_path, monkeypatch, _STOPPED, discard=discard)
    assert isinstance(outcome, Problem)
    assert outcome.code == "download_timeout"


@pytest.mark.parametrize("cancelled", [False, True])
def test_an_interpreter_that_does_not_fit_is_the_outcome_unless_nobody_waits_for_it(
    tmp_path: Path, cancelled: bool
) -> None:
    own = tmp_path / "python"
    own.write_text("#!/bin/sh\nexec sleep 600\n" if cancelled else "#!/bin/sh\n")
    own.chmod(0o755)
    spec = Spec(model_id="org/m", cache_dir=str(tmp_path), python=str(own))

    async def run() -> Problem | None:
        ended: asyncio.Future[Problem | None] = asyncio.Future()
        job = FetchJob(
            FetchRequest(spec=spec, hub=HubAccess()),
            Fetchers(os.environ, tmp_path / "log"),
            lambda line: None,
            lambda model, problem: ended.set_result(problem),
        )
        if cancelled:
            await asyncio.sleep(0.5)
            job.cancel()
        return await asyncio.wait_for(ended, 30)

    outcome = asyncio.run(run())
    assert (outcome and outcome.code) == (None if cancelled else "interpreter_unfit")
