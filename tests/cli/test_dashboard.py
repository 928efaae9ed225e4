from __future__ import annotations

import http.server
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click
import pytest

from modeldeploy.client import tickets
from modeldeploy.client.token import api_token
from modeldeploy.schema.control import GatewayStatus
from tests.cli.conftest import Run
from tests.cli.fake_supervisor import FakeSupervisor


class _Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def fronted(fake: FakeSupervisor) -> Iterator[FakeSupervisor]:
    server = http.server.HTTPServer(("127.0.0.1", 0), _Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    fake.gateway = GatewayStatus(url=f"http://127.0.0.1:{server.server_port}", pid=1)
    yield fake
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_link_has_a_ticket_and_no_command_line_has_the_link(
    fronted: FakeSupervisor, home: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched: list[str] = []

    def launch(url: str) -> int:
        launched.append(url)
        return 0

    monkeypatch.setattr(click, "launch", launch)
    link = run("dashboard").out.strip()
    base, _, ticket = link.partition("/#ticket=")
    assert base == fronted.gateway.url
    assert tickets.read(api_token(home / "state" / "api-token"), tickets.TICKET, ticket)
    page = Path(unquote(urlsplit(launched[0]).path))
    assert link in page.read_text()
    assert ticket not in launched[0]
    assert stat.S_IMODE(page.stat().st_mode) == 0o600

    assert run("dashboard", "--no-open").out.strip() != link  # each is good once
    assert run("dashboard", "--json").json["url"].startswith(base)
    assert len(launched) == 1
    monkeypatch.setattr(click, "launch", lambda url: 1)
    assert "no browser" in run("dashboard").err


def test_without_a_front_door_it_says_why(fake: FakeSupervisor, run: Run) -> None:
    fake.gateway = GatewayStatus(notice="no port from 8000 on is free")
    ran = run("dashboard", "--json")
    assert ran.code == 1
    assert ran.error["code"] == "gateway_unavailable"
    assert "no port" in ran.error["message"]


def test_a_front_door_that_is_gone_is_told(fronted: FakeSupervisor, run: Run) -> None:
    fronted.gateway = GatewayStatus(url="http://127.0.0.1:1", pid=1)
    assert run("dashboard", "--json").error["code"] == "gateway_unavailable"
