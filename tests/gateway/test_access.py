"""Sessions of the dashboard: what begins one, what it may do, what it is refused."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from modeldeploy.client import tickets
from modeldeploy.gateway import access
from modeldeploy.gateway.ended import Ended
from tests.gateway.door import DEFAULTS, TOKEN, Door, Echo, door, tell

STATUS = "/api/v1/status"


async def redeem(one: Door, ticket: str, **headers: str) -> tuple[int, dict[str, str]]:
    """The status, and the headers of the session: the cookie as a browser sends it, the page's key."""
    given = {"content-type": "application/json", "origin": one.url, **headers}
    body = json.dumps({"ticket": ticket}).encode()
    status, answered, raw = await one.ask("POST", "/session", data=body, headers=given)
    if status != 200:
        assert "set-cookie" not in answered
        return status, {}
    cookie = answered["set-cookie"].partition(";")[0]
    return status, {"cookie": cookie, "x-modeldeploy-session": json.loads(raw)["key"]}


async def begun(one: Door) -> dict[str, str]:
    return (await redeem(one, tickets.sign(TOKEN, tickets.TICKET)))[1]


def test_a_ticket_is_worth_one_session(tmp_path: Path) -> None:
    async def story() -> None:
        async with door(tmp_path, {}, Echo("supervisor")) as one:
            ticket = tickets.sign(TOKEN, tickets.TICKET)
            status, session = await redeem(one, ticket)
            assert status == 200
            assert (await redeem(one, ticket))[0] == 401
            held = {**session, "cookie": f"other=1; {session['cookie']}"}
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
            assert await redeem(one, ticket) == (401, {})
            assert (await redeem(one, fresh, origin="http://evil.example"))[0] == 403
            assert (await redeem(one, fresh))[0] == 200

    tell(story)


def test_tickets_and_sessions_grow_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        earlier = tickets.sign(TOKEN, tickets.TICKET)
        async with door(tmp_path, {}, Echo("supervisor")) as one:
            later = tickets.sign(TOKEN, tickets.TICKET)
            assert (await redeem(one, earlier))[0] == 401  # of before the gateway began
            session = await begun(one)
            now = time.time()
            monkeypatch.setattr(
                "modeldeploy.gateway.access.time.time", lambda: now + tickets.TICKET_SECONDS + 1
            )
            assert (await redeem(one, later))[0] == 401
            assert (await one.ask("GET", STATUS, headers=session))[0] == 203
            monkeypatch.setattr(
                "modeldeploy.gateway.access.time.time", lambda: now + access.SESSION_SECONDS + 1
            )
            assert (await one.ask("GET", STATUS, headers=session))[0] == 401

    tell(story)


def test_half_a_session_is_none(tmp_path: Path) -> None:
    """The cookie goes to every port of the host, to those of strangers too: alone it opens nothing."""

    async def story() -> None:
        supervisor = Echo("supervisor")
        async with door(tmp_path, {"a": (deployment := Echo("a"))}, supervisor) as one:
            mine, other = await begun(one), await begun(one)
            header = "x-modeldeploy-session"
            cookie, key = {"cookie": mine["cookie"]}, {header: mine[header]}
            word = mine["cookie"].partition("=")[2]
            for held in (
                cookie,
                key,
                {**cookie, header: ""},
                {**cookie, header: "é"},
                {**cookie, header: word},
                {**cookie, header: other[header]},
                {**cookie, header: tickets.counterpart("other", word)},
            ):
                assert (await one.ask("GET", STATUS, headers=held))[0] == 401, held
                raw = (await one.ask("GET", "/session", headers=held))[2]
                assert json.loads(raw) == {"signed_in": False}
            assert not supervisor.asked
            assert (await one.ask("GET", STATUS, headers={**cookie, **key}))[0] == 203
            await one.ask("GET", "/deployments/a/x", headers=mine)
            assert "cookie" not in deployment.asked[0]["headers"]

    tell(story)


def test_who_signs_out_has_no_session_any_more(tmp_path: Path) -> None:
    async def story() -> None:
        async with door(tmp_path, {}, Echo("supervisor")) as one:
            mine, other = await begun(one), await begun(one)
            own = {"origin": one.url}
            assert (await one.ask("DELETE", "/session", headers=mine))[0] == 403  # no page of ours
            assert (await one.ask("DELETE", "/session", headers=own))[0] == 200  # none to end
            assert (await one.ask("GET", STATUS, headers=mine))[0] == 203
            status, headers, raw = await one.ask("DELETE", "/session", headers={**mine, **own})
            assert (status, json.loads(raw)) == (200, {"signed_in": False})
            name = mine["cookie"].partition("=")[0]
            assert headers["set-cookie"].startswith(f"{name}=; Max-Age=0; Path=/")
            assert (await one.ask("GET", STATUS, headers=mine))[0] == 401  # also by a copy of it
            assert (await one.ask("GET", STATUS, headers=other))[0] == 203
        assert (tmp_path / "ended-sessions").stat().st_mode & 0o777 == 0o600

    tell(story)


def test_a_session_that_has_ended_is_not_good_at_the_next_gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ended-sessions"
    file.write_bytes(b"\xff 1\nhalf a li")  # of a disk that was full
    one, other = (tickets.Statement(time.time(), nonce) for nonce in ("a", "b"))
    Ended(file, 60.0).add(one)
    Ended(file, 60.0).add(other)
    found = Ended(file, 60.0)
    assert "a" in found
    assert "b" in found
    assert "c" not in found
    now = time.time()
    monkeypatch.setattr("modeldeploy.gateway.ended.time.time", lambda: now + 61)
    assert "a" not in Ended(file, 60.0)
    assert not file.exists()  # nothing in it is of use any more


def test_a_session_that_ends_at_the_gateway_before_has_ended(tmp_path: Path) -> None:
    file = tmp_path / "ended-sessions"
    before, after = Ended(file, 60.0), Ended(file, 60.0)
    one, other = (tickets.Statement(time.time(), nonce) for nonce in ("a", "b"))
    assert "a" not in after
    after.add(other)
    before.add(one)
    assert "a" in after
    assert "b" in after


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
            session = await begun(one)
            given = {name: one.url if value == "OWN" else value for name, value in headers.items()}
            asked = await one.ask(method, STATUS, headers={**session, **given})
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


def test_a_browser_is_told_that_it_has_a_file_already(tmp_path: Path) -> None:
    async def story() -> None:
        async with door(tmp_path, {}) as one:
            tags = set()
            for path in ("/", "/dashboard/main.js", "/docs/swagger-ui.css"):
                _, headers, whole = await one.ask("GET", path)
                tag = headers["etag"]
                for known in (tag, f'"x", W/{tag}'):
                    found = await one.ask("GET", path, headers={"if-none-match": known})
                    assert (found[0], found[2], found[1]["etag"]) == (304, b"", tag), path
                    assert found[1]["cache-control"] == headers["cache-control"]
                for other in ('"x"', "", tag.strip('"')):
                    found = await one.ask("GET", path, headers={"if-none-match": other})
                    assert (found[0], found[2]) == (200, whole), path
                tags.add(tag)
            assert len(tags) == 3

    tell(story)
