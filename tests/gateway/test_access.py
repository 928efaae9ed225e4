"""Sessions of the dashboard: what begins one, what it may do, what it is refused."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from modeldeploy.client import tickets
from modeldeploy.gateway import access
from tests.gateway.door import DEFAULTS, TOKEN, Door, Echo, door, tell

STATUS = "/api/v1/status"


async def redeem(one: Door, ticket: str, **headers: str) -> tuple[int, str]:
    """The status, and the cookie as a browser would send it."""
    given = {"content-type": "application/json", "origin": one.url, **headers}
    body = json.dumps({"ticket": ticket}).encode()
    status, answered, _ = await one.ask("POST", "/session", data=body, headers=given)
    return status, answered.get("set-cookie", "").partition(";")[0]


def test_a_ticket_is_worth_one_session(tmp_path: Path) -> None:
    async def story() -> None:
        async with door(tmp_path, {}, Echo("supervisor")) as one:
            ticket = tickets.sign(TOKEN, tickets.TICKET)
            status, cookie = await redeem(one, ticket)
            assert status == 200
            assert (await redeem(one, ticket))[0] == 401
            held = {"cookie": f"other=1; {cookie}"}
            assert (await one.ask("GET", STATUS, headers=held))[0] == 203
            _, headers, raw = await one.ask("GET", "/session", headers=held)
            assert (json.loads(raw), headers["cache-control"]) == ({"signed_in": True}, "no-store")
            raw = (await one.ask("GET", "/api/defaults", headers=held))[2]
            assert json.loads(raw)["cache_dir"] == DEFAULTS.cache_dir
            assert json.loads((await one.ask("GET", "/session"))[2]) == {"signed_in": False}

    tell(story)


@pytest.mark.parametrize(
    "ticket",
    [
        "",
        "x",
        "1.2.3",
        "1.é.3",
        TOKEN,
        tickets.sign("other", tickets.TICKET),
        tickets.sign(TOKEN, tickets.SESSION),
        tickets.sign(TOKEN, tickets.TICKET)[:-1],
    ],
    ids=["none", "a letter", "dots", "not ASCII", "token", "other", "session", "cut short"],
)
@pytest.mark.promise(20, fault="wrong tickets for the dashboard")
def test_a_wrong_ticket_is_worth_nothing(ticket: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with door(tmp_path, {}) as one:
            fresh = tickets.sign(TOKEN, tickets.TICKET)
            assert await redeem(one, ticket) == (401, "")
            assert (await redeem(one, fresh, origin="http://evil.example"))[0] == 403
            assert (await redeem(one, fresh))[0] == 200

    tell(story)


def test_tickets_and_sessions_grow_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        earlier = tickets.sign(TOKEN, tickets.TICKET)
        async with door(tmp_path, {}, Echo("supervisor")) as one:
            later = tickets.sign(TOKEN, tickets.TICKET)
            assert (await redeem(one, earlier))[0] == 401  # of before the gateway began
            _, cookie = await redeem(one, tickets.sign(TOKEN, tickets.TICKET))
            now = time.time()
            monkeypatch.setattr(
                "modeldeploy.gateway.access.time.time", lambda: now + tickets.TICKET_SECONDS + 1
            )
            assert (await redeem(one, later))[0] == 401
            assert (await one.ask("GET", STATUS, headers={"cookie": cookie}))[0] == 203
            monkeypatch.setattr(
                "modeldeploy.gateway.access.time.time", lambda: now + access.SESSION_SECONDS + 1
            )
            assert (await one.ask("GET", STATUS, headers={"cookie": cookie}))[0] == 401

    tell(story)


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {}, 203),
        ("GET", {"sec-fetch-site": "same-origin"}, 203),
        ("GET", {"sec-fetch-site": "none"}, 203),
        ("GET", {"sec-fetch-site": "same-site"}, 403),
        ("GET", {"sec-fetch-site": "cross-site"}, 403),
        ("POST", {}, 403),
        ("DELETE", {"sec-fetch-site": "none"}, 403),
        ("POST", {"sec-fetch-site": "same-site"}, 403),
        ("POST", {"origin": "http://127.0.0.1:1"}, 403),
        ("POST", {"origin": "null"}, 403),
        ("POST", {"sec-fetch-site": "same-origin"}, 203),
        ("DELETE", {"origin": "OWN"}, 203),
        ("GET", {"authorization": "Bearer wrong"}, 401),
    ],
)
@pytest.mark.promise(21, fault="another page asks with the cookie of the dashboard")
def test_a_session_is_of_its_own_page_alone(
    method: str, headers: dict[str, str], status: int, tmp_path: Path
) -> None:
    async def story() -> None:
        supervisor = Echo("supervisor")
        async with door(tmp_path, {}, supervisor) as one:
            _, cookie = await redeem(one, tickets.sign(TOKEN, tickets.TICKET))
            given = {name: one.url if value == "OWN" else value for name, value in headers.items()}
            asked = await one.ask(method, STATUS, headers={"cookie": cookie, **given})
            assert asked[0] == status
            assert len(supervisor.asked) == (status == 203)
            assert not any("cookie" in each["headers"] for each in supervisor.asked)

    tell(story)


def test_the_page_knows_nothing_and_runs_nothing_but_its_own_files(tmp_path: Path) -> None:
    async def story() -> None:
        async with door(tmp_path, {"secret-name": Echo("a")}) as one:
            for path in ("/", "/dashboard/main.js", "/dashboard/style.css"):
                status, headers, raw = await one.ask("GET", path)
                assert status == 200
                assert b"secret-name" not in raw
                policy = headers["content-security-policy"]
                assert "default-src 'none'" in policy
                assert "unsafe" not in policy
                assert headers["x-content-type-options"] == "nosniff"
            for path in ("/dashboard", "/dashboard/", "/dashboard/../app.py", "/dashboard/x.js"):
                assert (await one.ask("GET", path))[0] == 404

    tell(story)
