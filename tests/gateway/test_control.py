"""The control API behind the front door: nothing without the token, everything with it."""

from __future__ import annotations

import asyncio
import io
import json
import stat
from pathlib import Path

import pytest
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from modeldeploy.client.token import api_token
from modeldeploy.gateway import control_document
from modeldeploy.supervisor.api import ControlApi
from tests.gateway.door import TOKEN, Echo, door, tell
from tests.gateway.test_docs import refers

BEARER = {"authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": TOKEN},
        {"cookie": f"token={TOKEN}"},
    ],
)
@pytest.mark.promise(20, fault="the control API is asked without its token, and with wrong ones")
def test_without_the_token_it_shows_nothing_and_does_nothing(
    given: dict[str, str], tmp_path: Path
) -> None:
    async def story() -> None:
        supervisor = Echo("supervisor")
        async with door(tmp_path, {}, supervisor) as one:
            paths = ("/api", "/api/", "/api/openapi.json", "/api/v1/status", "/api/nowhere")
            answers = {
                (status, json.loads(raw)["code"], headers["www-authenticate"])
                for path in (*paths, f"/api/v1/status?token={TOKEN}")
                for method in ("GET", "POST", "DELETE", "OPTIONS")
                for status, headers, raw in [await one.ask(method, path, headers=given)]
            }
            assert answers == {(401, "unauthorized", "Bearer")}
        assert not supervisor.asked

    tell(story)


@pytest.mark.promise(21, fault="a foreign page, and a foreign Host, ask the control API")
def test_a_foreign_page_gets_nowhere_even_with_the_token(tmp_path: Path) -> None:
    async def story() -> None:
        supervisor = Echo("supervisor")
        async with door(tmp_path, {}, supervisor) as one:
            for strange, status in (
                ({"origin": "https://evil.example"}, 403),
                ({"host": "x.y"}, 421),
            ):
                for path in ("/api/v1/status", "/api/openapi.json"):
                    found = await one.ask("POST", path, headers={**BEARER, **strange})
                    assert found[0] == status
        assert not supervisor.asked

    tell(story)


def test_with_the_token_it_is_the_supervisors_own(tmp_path: Path) -> None:
    async def story() -> None:
        supervisor = Echo("supervisor")
        async with door(tmp_path, {}, supervisor) as one:
            json_body = {**BEARER, "content-type": "application/json"}
            path = "/api/v1/deployments/a/start?x=%20"
            status, _, raw = await one.ask("POST", path, data=b"{}", headers=json_body)
            assert (status, raw) == (203, b"supervisor")
            (asked,) = supervisor.asked
            assert (asked["method"], asked["path"]) == ("POST", "/v1/deployments/a/start")
            assert (asked["query"], asked["body"]) == ("x=%20", b"{}")
            assert "authorization" not in asked["headers"]
            large = await one.ask(
                "POST", path, data=io.BytesIO(bytes((1 << 20) + 1)), headers=json_body
            )
            assert large[0] == 413
            assert (await one.ask("GET", "/api/nowhere", headers=BEARER))[0] == 404

    tell(story)


def test_a_body_that_does_not_say_that_it_is_json_is_refused(tmp_path: Path) -> None:
    async def story() -> None:
        supervisor = Echo("supervisor")
        async with door(tmp_path, {}, supervisor) as one:
            for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
                headers = {**BEARER, "content-type": kind, "origin": one.url}
                for path in ("/api/v1/deployments", "/session"):
                    status, _, raw = await one.ask("POST", path, data=b"{}", headers=headers)
                    assert (status, b"unsupported_media_type" in raw) == (415, True), path
            assert not supervisor.asked
            said = {"content-type": "application/json; charset=utf-8"}
            status = (await one.ask("POST", "/api/v1/x", data=b"{}", headers={**BEARER, **said}))[0]
            assert status == 203

    tell(story)


def test_every_answer_tells_the_requests_name(tmp_path: Path) -> None:
    async def story() -> None:
        async with door(tmp_path, {"a": Echo("a")}, Echo("supervisor")) as one:
            paths = ("/api/v1/status", "/api/openapi.json", "/api/defaults", "/api/figures")
            for path in (*paths, "/api/nowhere", "/session", "/health", "/deployments/a/x"):
                given = {**BEARER, "x-request-id": "mine-1"}
                headers = (await one.ask("GET", path, headers=given))[1]
                assert headers["x-request-id"] == "mine-1", path

    tell(story)


def test_what_is_followed_comes_line_by_line_and_ends_with_who_follows(tmp_path: Path) -> None:
    left = asyncio.Event()

    async def supervisor(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}\n", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        left.set()

    async def story() -> None:
        async with door(tmp_path, {}, supervisor) as one:
            answer = await one.session.get(f"{one.url}/api/v1/watch", headers=BEARER)
            assert await answer.content.readline() == b"{}\n"
            answer.close()
            await left.wait()

    tell(story)


def test_without_a_supervisor_it_says_so(tmp_path: Path) -> None:
    async def story() -> None:
        async with door(tmp_path, {}) as one:
            status, _, raw = await one.ask("GET", "/api/v1/status", headers=BEARER)
            assert (status, json.loads(raw)["code"]) == (503, "daemon_unreachable")

    tell(story)


def test_the_document_has_every_route_of_the_supervisor_and_no_other() -> None:
    document = json.loads(control_document.document())
    refers(document)
    documented = {
        (method, path.removeprefix("/api"))
        for path, item in document["paths"].items()
        for method in item
    }
    api = ControlApi.app(ControlApi.__new__(ControlApi))
    served = {
        (method.lower(), route.path)
        for route in api.routes
        if isinstance(route, Route)
        for method in route.methods or ()
    }
    ids = [one["operationId"] for item in document["paths"].values() for one in item.values()]
    assert len(ids) == len(set(ids))
    assert {"get_defaults", "get_figures", "get_status", "post_deployments_name_stop"} <= {*ids}
    own = {("get", "/defaults"), ("get", "/figures")}  # the gateway's
    assert documented - own == {(method, path) for method, path in served if method != "head"}


def test_who_asks_for_another_route_is_told_where_they_are(tmp_path: Path) -> None:
    supervisor = ControlApi.app(ControlApi.__new__(ControlApi))

    async def story() -> None:
        async with door(tmp_path, {}, supervisor) as one:
            for path in ("/api/v1/nowhere", "/api/nowhere"):
                status, _, raw = await one.ask("GET", path, headers=BEARER)
                assert (status, "/api/openapi.json" in json.loads(raw)["hint"]) == (404, True)

    tell(story)


@pytest.mark.promise(24, fault="the token of the control API was made readable")
def test_the_token_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "token"
    token = api_token(file)
    assert len(token) >= 40
    assert api_token(file) == token
    file.chmod(0o644)
    assert api_token(file) == token
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_text("\n")
    assert api_token(file) not in {"", token}
    assert list(tmp_path.iterdir()) == [file]
