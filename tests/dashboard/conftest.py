from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.dashboard.browser import CHROMIUM, Visitor, chromium
from tests.e2e.instance import Instance
from tests.models import tiny


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    """A front door over two deployments: ``digits`` and ``chat``, which writes."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium here: make browser installs it where apt can")
    with tempfile.TemporaryDirectory(prefix="md-") as folder:
        one = Instance(
            Path(folder) / "home", MODELDEPLOY_GATEWAY="true", MODELDEPLOY_WARM_START="true"
        )
        model = tiny.chat(Path(folder) / "chat")
        try:
            for arguments in (("builtin/digits",), (str(model), "--name", "chat")):
                one.run("deploy", "--detach", *arguments)
            one.run("wait", "digits")
            one.run("wait", "chat")
            yield one
        finally:
            one.close()


@pytest.fixture(scope="module")
def browser(instance: Instance) -> Iterator[Browser]:
    with chromium() as one:
        yield one


@pytest.fixture(scope="module")
def owner(browser: Browser, instance: Instance) -> Visitor:
    """Signed in by the link that the command prints."""
    one = Visitor(browser, instance.front)
    page = one.page()
    page.goto(link(instance))
    page.get_by_role("link", name="digits").wait_for()
    page.close()
    return one


@pytest.fixture
def page(owner: Visitor, instance: Instance) -> Iterator[Page]:
    """The dashboard. Whatever a test does there, it leaves no complaint and asks nobody else."""
    one = owner.page()
    one.goto(instance.front)
    yield one
    one.close()
    assert owner.held_against() == ([], set())


def link(instance: Instance) -> str:
    done: subprocess.CompletedProcess[str] = instance.run("dashboard", "--no-open")
    return done.stdout.strip()
