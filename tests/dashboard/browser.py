"""Chromium without a window, and what is held against every page that it shows."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

CHROMIUM = shutil.which("chromium")
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_GRAVE = {"serious", "critical"}
WAIT_MS = 30_000.0


class Visitor:
    """Somebody with cookies of their own, whose pages are watched. ``complaints`` are errors that a page
    wrote or raised, ``strangers`` what it asked of others than ``front``."""

    def __init__(self, browser: Browser, front: str) -> None:
        self.context = browser.new_context(
            viewport={"width": 1280, "height": 820},
            color_scheme="light",
            permissions=["clipboard-read", "clipboard-write"],
        )
        self.complaints: list[str] = []
        self.strangers: set[str] = set()
        self._host = urlsplit(front).netloc
        self.context.on("request", self._asked)
        self.context.on("console", self._said)
        self.context.on("weberror", lambda error: self.complaints.append(str(error.error)))

    def page(self) -> Page:
        page = self.context.new_page()
        page.set_default_timeout(WAIT_MS)
        return page

    def held_against(self) -> tuple[list[str], set[str]]:
        """Complaints and strangers since it was asked last."""
        found = self.complaints, self.strangers
        self.complaints, self.strangers = [], set()
        return found

    def _asked(self, request: Request) -> None:
        where = urlsplit(request.url)
        if where.scheme not in {"about", "blob", "data"} and where.netloc != self._host:
            self.strangers.add(request.url)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser with a folder and a home of its own, which do not stay."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home,
        sync_playwright() as playwright,
    ):
        own: dict[str, str | float | bool] = {
            **os.environ,
            "HOME": home,
            "XDG_CONFIG_HOME": home,
            "XDG_CACHE_HOME": home,
        }
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS, env=own)
        try:
            yield browser
        finally:
            browser.close()


def grave_faults(page: Page) -> list[str]:
    """What axe finds that keeps people out, each with the place of its first."""
    found: dict[str, Any] = Axe().run(page).response
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:200]}"
        for one in found["violations"]
        if one["impact"] in _GRAVE
    ]
