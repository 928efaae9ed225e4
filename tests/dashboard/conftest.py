from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.dashboard.browser import CHROMIUM, Visitor, chromium
from tests.e2e.instance import Instance
from tests.models import tiny


@contextlib.contextmanager
def front_door(models: dict[str, tuple[Callable[[Path], Path], str]]) -> Iterator[Instance]:
    """A front door over ``digits`` and ``models``: by name, what makes each and its task."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium here: make browser installs it where apt can")
    with tempfile.TemporaryDirectory(prefix="md-") as folder:
        one = Instance(
            Path(folder) / "home",
            ports=len(models) + 4,
            MODELDEPLOY_GATEWAY="true",
            MODELDEPLOY_WARM_START="true",
        )
        try:
            one.run("deploy", "--detach", "builtin/digits")
            for name, (make, task) in models.items():
                model = str(make(Path(folder) / name))
                one.run("deploy", "--detach", model, "--name", name, "--task", task)
            for name in ("digits", *models):
                one.run("wait", name)
            yield one
        finally:
            one.close()


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    """A front door over two deployments: ``digits`` and ``chat``, which writes."""
    with front_door({"chat": (tiny.chat, "text-generation")}) as one:
        yield one


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
