"""The fetcher that waits for the next fetch: here it is a script that says how it was started."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from modeldeploy.errors import InterpreterUnfit
from modeldeploy.schema.deployment import HubAccess, Spec
from modeldeploy.schema.fetch import AHEAD, FetchRequest
from modeldeploy.supervisor import fetchers, processes
from modeldeploy.supervisor.fetchers import Fetchers

_SCRIPT = (
    "import os, sys; sys.stdin.readline();"
    f"print({AHEAD!r} in sys.argv, os.environ.get('HF_ENDPOINT'), os.getpid())"
)
Endpoint = str | None


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    monkeypatch.setattr(fetchers, "_FETCHER", (sys.executable, "-c", _SCRIPT))
    monkeypatch.setattr(fetchers, "_PAUSE_SECONDS", 0.0)

    def run(scenario: Callable[[Fetchers], Awaitable[None]]) -> None:
        before = set(psutil.Process().children())

        async def whole() -> None:
            kept = Fetchers(os.environ, tmp_path / "log")
            try:
                await asyncio.wait_for(scenario(kept), 60)
            finally:
                await kept.close()
            assert set(psutil.Process().children()) <= before

        asyncio.run(whole())

    return run


def request(endpoint: Endpoint = None, *, discard: bool = False, **own: Any) -> FetchRequest:
    spec = Spec(model_id="org/m", cache_dir="/nowhere", **own)
    return FetchRequest(spec=spec, hub=HubAccess(endpoint=endpoint), discard=discard)


async def fetched(kept: Fetchers, endpoint: Endpoint = None) -> tuple[bool, str, int]:
    """Whether the fetcher had waited, the endpoint that it was started with, and its pid."""
    process = await kept.begin(request(endpoint))
    told, _ = await process.communicate()
    waited, found, pid = told.decode().split()
    return waited == "True", found, int(pid)


async def waiting(kept: Fetchers) -> int:
    """The pid of the one that waits, once there is one."""
    while kept._waiting is None:
        await asyncio.sleep(0.01)
    return kept._waiting.pid


def test_a_fetch_takes_the_one_that_waits_and_another_waits_then(run: Callable[..., None]) -> None:
    async def scenario(kept: Fetchers) -> None:
        kept.keep_one()
        first = await waiting(kept)
        assert await fetched(kept) == (True, "None", first)
        second = await waiting(kept)
        assert second != first
        assert await fetched(kept) == (True, "None", second)

    run(scenario)


def test_none_waits_unless_that_is_wanted(run: Callable[..., None]) -> None:
    async def scenario(kept: Fetchers) -> None:
        for _ in range(2):
            assert (await fetched(kept))[0] is False
            await asyncio.sleep(0.1)
        assert kept._waiting is None

    run(scenario)


def test_one_for_another_endpoint_is_ended_and_the_next_is_for_the_one_asked(
    run: Callable[..., None],
) -> None:
    async def scenario(kept: Fetchers) -> None:
        kept.keep_one()
        other = await waiting(kept)
        assert (await fetched(kept, "https://hub.local"))[0] is False
        found = await waiting(kept)
        assert await fetched(kept, "https://hub.local") == (True, "https://hub.local", found)
        assert not psutil.pid_exists(other)

    run(scenario)


@pytest.mark.promise(12, fault="the fetcher that waits for the next fetch is stopped, or killed")
@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_one_that_hears_nothing_is_not_asked(
    run: Callable[..., None], number: signal.Signals
) -> None:
    async def scenario(kept: Fetchers) -> None:
        kept.keep_one()
        deaf = await waiting(kept)
        os.kill(deaf, number)
        while processes.is_awake(deaf):
            await asyncio.sleep(0.01)
        assert (await fetched(kept))[0] is False
        assert await waiting(kept) != deaf
        assert not psutil.pid_exists(deaf)

    run(scenario)


def test_what_cannot_be_started_is_no_fetch_that_fails(
    run: Callable[..., None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(kept: Fetchers) -> None:
        command = fetchers._FETCHER
        monkeypatch.setattr(fetchers, "_FETCHER", ("/nowhere/python",))
        kept.keep_one()
        while not caplog.messages:
            await asyncio.sleep(0.01)
        monkeypatch.setattr(fetchers, "_FETCHER", command)
        assert (await fetched(kept))[0] is False
        await waiting(kept)  # it was tried again

    run(scenario)
    assert "no fetcher waits for the next fetch" in caplog.text


def test_a_discard_leaves_it_waiting(run: Callable[..., None]) -> None:
    async def scenario(kept: Fetchers) -> None:
        kept.keep_one()
        pid = await waiting(kept)
        process = await kept.begin(request(discard=True))
        await process.communicate()
        assert process.pid != pid
        assert await fetched(kept) == (True, "None", pid)

    run(scenario)


def test_none_waits_for_an_endpoint_that_has_a_password(run: Callable[..., None]) -> None:
    async def scenario(kept: Fetchers) -> None:
        kept.keep_one()
        await waiting(kept)
        for _ in range(2):
            assert (await fetched(kept, "https://user:pw@hub.local"))[:2] == (False, "None")
            await asyncio.sleep(0.1)
        assert kept._waiting is None

    run(scenario)


def test_what_has_died_long_ago_is_not_taken_for_who_has_its_pid_now(
    run: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(kept: Fetchers) -> None:
        kept.keep_one()
        os.kill(await waiting(kept), signal.SIGKILL)
        assert kept._waiting
        await kept._waiting.wait()
        monkeypatch.setattr(processes, "is_awake", lambda pid: True)
        assert (await fetched(kept))[0] is False

    run(scenario)


def test_none_waits_after_the_end(run: Callable[..., None]) -> None:
    async def scenario(kept: Fetchers) -> None:
        kept.keep_one()
        await waiting(kept)
        await kept.close()
        kept.keep_one()
        assert (await fetched(kept, "https://hub.local"))[0] is False
        await asyncio.sleep(0.1)
        assert kept._waiting is None

    run(scenario)


def test_what_a_model_needs_is_asked_for_where_it_will_run(
    run: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tells = "import os, sys; sys.stdin.readline(); print(os.environ.get('MINE'), sys.argv[1:])"
    monkeypatch.setattr(fetchers, "_FETCHER", (sys.executable, "-c", tells))
    own = tmp_path / "python"
    own.write_text(f'#!/bin/sh\nexec {sys.executable} "$@" own\n')
    own.chmod(0o755)

    async def scenario(kept: Fetchers) -> None:
        kept.keep_one()
        idle = await waiting(kept)
        for given, told in (
            ({"python": str(own)}, "None ['own']"),
            ({"python": str(own), "env": {"MINE": "1"}}, "1 ['own']"),
            ({"env": {"MINE": "2"}}, "2 []"),
        ):
            process = await kept.begin(request(**given))
            assert (await process.communicate())[0].decode().strip() == told
            assert await waiting(kept) == idle, "it is of another environment"

    run(scenario)


def test_an_interpreter_that_does_not_fit_fetches_nothing(
    run: Callable[..., None], tmp_path: Path
) -> None:
    async def scenario(kept: Fetchers) -> None:
        with pytest.raises(InterpreterUnfit):
            await kept.begin(request(python=str(tmp_path / "none")))
        process = await kept.begin(request(python=str(tmp_path / "none"), discard=True))
        await process.communicate()

    run(scenario)
