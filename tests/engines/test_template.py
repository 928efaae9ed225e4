from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from modeldeploy.engines import template
from modeldeploy.engines.template import TemplateEngine

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is no template elsewhere")


@pytest.mark.promise(4, fault="the template is stopped (SIGSTOP) before it is warm")
def test_a_template_that_never_gets_warm_is_killed_and_another_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template, "_WARM_SECONDS", 0.3)
    monkeypatch.setattr(template, "_AGAIN_SECONDS", 0.3)

    async def run() -> None:
        lost = asyncio.Event()
        engine = TemplateEngine(os.environ, 1, tmp_path / "log", lost.set)
        try:
            (first,) = templates()
            first.send_signal(signal.SIGSTOP)
            before = engine.ready
            await asyncio.wait_for(lost.wait(), 30)
            assert (before, engine.ready) == (False, True), "workers would wait for it"
            while not (found := templates()) or found == [first]:
                await asyncio.sleep(0.05)
        finally:
            engine.close()

    asyncio.run(run())
    assert not templates()


@pytest.mark.promise(4, fault="the template cannot be started: the disk or the files are short")
def test_a_template_that_cannot_be_started_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template, "_AGAIN_SECONDS", 0.1)
    folder = tmp_path / "logs"

    async def run() -> None:
        before = len(list(Path("/proc/self/fd").iterdir()))
        engine = TemplateEngine(os.environ, 1, folder / "log", lambda: None)
        try:
            assert (engine.ready, engine.warmth) == (True, "off"), "workers would wait for it"
            assert len(list(Path("/proc/self/fd").iterdir())) == before
            folder.mkdir()
            while not templates():
                await asyncio.sleep(0.05)
            assert engine.warmth != "off"
        finally:
            engine.close()

    asyncio.run(run())
    assert not templates()


def templates() -> list[psutil.Process]:
    return [
        one
        for one in psutil.Process().children()
        if one.status() != psutil.STATUS_ZOMBIE and "modeldeploy.worker.template" in one.cmdline()
    ]
