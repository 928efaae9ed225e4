"""Which deployment a request reaches, with what, and what it gets where it reaches none."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from msgspec.structs import replace
from yarl import URL

from modeldeploy.schema.problem import Problem
from modeldeploy.schema.states import State
from tests.cli.stories import deployment
from tests.gateway.door import Door, Echo, door, tell

JSON = {"content-type": "application/json"}


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_any_method_and_path_below_a_deployments_name_is_passed_to_it(
    method: str, tmp_path: Path
) -> None:
    async def story() -> None:
        a, b = Echo("a"), Echo("b")
        async with door(tmp_path, {"a": a, "b": b}) as one:
            path = "/deployments/b/x/%2E%2e/%C3%A9//y"
            body = None if method in {"GET", "HEAD"} else b"so many bytes"
            status, headers, answer = await one.ask(method, f"{path}?q=1&q=%20", data=body)
        (asked,) = b.asked
        assert not a.asked
        assert (asked["method"], asked["path"]) == (method, "/x/%2E%2e/%C3%A9//y")
        assert asked["query"] == "q=1&q=%20"
        assert asked["body"] == (body or b"")
        assert (status, headers["x-of"]) == (203, "b")
        assert answer == (b"" if method == "HEAD" else b"b")

    tell(story)


def test_headers_pass_both_ways_but_for_those_of_one_connection(tmp_path: Path) -> None:
    async def story() -> None:
        echo = Echo("a")
        async with door(tmp_path, {"a": echo}) as one:
            given = {
                "connection": "x-mine, close",
                "x-mine": "1",
                "te": "trailers",
                "proxy-authorization": "secret",
                "x-request-id": "mine-1",
                "accept-encoding": "br",
                "authorization": "Bearer x",
            }
            _, headers, _ = await one.ask("POST", "/deployments/a", headers=given)
            await one.ask("GET", "/deployments/a/")
        asked, other = echo.asked
        seen = asked["headers"]
        assert not seen.keys() & {"x-mine", "te", "proxy-authorization", "connection"}
        assert seen["x-request-id"] == "mine-1"
        assert (seen["accept-encoding"], seen["authorization"]) == ("br", "Bearer x")
        assert seen["host"] == f"127.0.0.1:{one.port}"
        assert other["headers"]["x-request-id"], "one is made where none was given"
        assert (asked["path"], other["path"]) == ("/", "/")
        assert "x-hop" not in headers

    tell(story)


async def _form(one: Door, path: str, **fields: Any) -> tuple[int, dict[str, str], bytes]:
    form = aiohttp.FormData()
    form.add_field("file", b"RIFF....", filename="a.wav", content_type="audio/wav")
    for name, value in fields.items():
        form.add_field(name, value)
    return await one.ask("POST", path, data=form)


def test_v1_goes_where_the_body_says(tmp_path: Path) -> None:
    async def story() -> None:
        a, b = Echo("a"), Echo("b")
        async with door(tmp_path, {"a": a, "b": b}) as one:
            path = "/v1/chat/completions"
            for model, name in (("b", b"b"), ("org/b", b"b"), ("a", b"a")):
                body = json.dumps({"messages": [1, {"model": "no"}], "model": model}).encode()
                assert (await one.ask("POST", path, data=body, headers=JSON))[2] == name
            assert (await _form(one, "/v1/audio/transcriptions", model="b"))[2] == b"b"
            large = json.dumps({"model": "b", "input": "x" * 200_000}).encode()
            whole = io.BytesIO(large)
            assert (await one.ask("POST", "/v1/embeddings", data=whole, headers=JSON))[2] == b"b"
            assert b.asked.pop()["body"] == large
        assert b.asked[0]["path"] == path
        assert b"RIFF" in b.asked[-1]["body"]
        assert b.asked[-1]["headers"]["content-type"].startswith("multipart/form-data; boundary")

    tell(story)


def test_of_two_deployments_of_a_model_the_one_that_runs_is_asked(tmp_path: Path) -> None:
    async def story() -> None:
        async with door(tmp_path, {"b": Echo("b")}) as one:
            (running,) = one._roster.all()
            stopped = deployment("a", "org/b", state=State.STOPPED, port=None)
            one.show(stopped, running)
            body = b'{"model": "org/b"}'
            assert (await one.ask("POST", "/v1/embeddings", data=body, headers=JSON))[2] == b"b"

    tell(story)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b'{"model": "gpt-9"}', 404, "a, b"),
        (b'{"input": "x"}', 400, "model"),
        (b'{"model": 7}', 400, "model"),
        (b"[]", 400, "model"),
        (b"{", 400, "JSON"),
        (b"\xff", 400, "JSON"),
    ],
)
def test_v1_says_in_openais_words_what_is_wrong(
    body: bytes, status: int, words: str, tmp_path: Path
) -> None:
    async def story() -> None:
        async with door(tmp_path, {"a": Echo("a"), "b": Echo("b")}) as one:
            found, _, raw = await one.ask("POST", "/v1/embeddings", data=body, headers=JSON)
            error = json.loads(raw)["error"]
        assert found == status
        assert words in error["message"]
        assert error.keys() == {"message", "type", "param", "code"}

    tell(story)


@pytest.mark.promise(17, fault="JSON nested deeper than anybody's stack, at the front door")
def test_deep_nesting_is_a_bad_request(tmp_path: Path) -> None:
    async def story() -> None:
        async with door(tmp_path, {"a": Echo("a")}) as one:
            deep = b"[" * 10 * sys.getrecursionlimit()
            body = b'{"model": "a", "x": ' + deep
            for path in ("/v1/chat/completions", "/v1/embeddings"):
                status, _, raw = await one.ask("POST", path, data=body, headers=JSON)
                assert status == 400, raw

    tell(story)


def test_v1_lists_every_deployment_as_a_model(tmp_path: Path) -> None:
    async def story() -> None:
        async with door(tmp_path, {"a": Echo("a"), "b": Echo("b")}) as one:
            listed = json.loads((await one.ask("GET", "/v1/models"))[2])
            one.change("b", model_id="/models/b")
            in_a_folder = json.loads((await one.ask("GET", "/v1/models/b"))[2])
            assert in_a_folder["owned_by"] == "local"
            one.change("b", model_id="org/b")
            assert [(m["id"], m["owned_by"]) for m in listed["data"]] == [
                ("a", "org"),
                ("b", "org"),
            ]
            for named in ("b", "org/b", "org%2Fb"):
                assert json.loads((await one.ask("GET", f"/v1/models/{named}"))[2])["id"] == "b"
            status, _, raw = await one.ask("GET", "/v1/models/c")
            assert (status, "a, b" in json.loads(raw)["error"]["message"]) == (404, True)
            status, headers, _ = await one.ask("DELETE", "/v1/models/a")
            assert (status, headers["allow"]) == (405, "GET, HEAD")
            assert (await one.ask("GET", "/v1/responses/1"))[0] == 404
            wrong = await one.ask(
                "POST", "/v1/embeddings", data=b"x", headers={"content-type": "a/b"}
            )
            assert wrong[0] == 400

    tell(story)


def test_the_open_inference_protocol_goes_by_the_name_in_the_path(tmp_path: Path) -> None:
    async def story() -> None:
        a, b = Echo("a"), Echo("ab")
        async with door(tmp_path, {"a": a, "ab": b}) as one:
            for path in ("/v2/models/ab/infer", "/v2/models/org/ab/ready", "/v2/models/ab"):
                assert (await one.ask("POST", path))[2] == b"ab", path
            assert b.asked[0]["path"] == "/v2/models/ab/infer"
            one.change("a", model_id="ab")  # a name goes before a model
            assert (await one.ask("GET", "/v2/models/ab"))[2] == b"ab"
            one.change("a", model_id="ab/more")
            assert (await one.ask("GET", "/v2/models/ab/more"))[2] == b"a"
            for path in ("/v2/models/c/infer", "/v2/models/", "/v2/nothing"):
                status, _, raw = await one.ask("GET", path)
                assert (status, list(json.loads(raw))) == (404, ["error"]), path
            assert "a, ab" in json.loads((await one.ask("GET", "/v2/models/c"))[2])["error"]
            assert json.loads((await one.ask("GET", "/v2/health/ready"))[2]) == {"ready": True}
            one.change("a", state=State.STOPPED)
            one.change("ab", state=State.FAILED)
            assert (await one.ask("GET", "/v2/health/ready"))[0] == 503
            assert json.loads((await one.ask("GET", "/v2"))[2])["name"] == "modeldeploy"

    tell(story)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"state": State.FETCHING, "port": 1, "percent": 30.0}, "FETCHING, stage complete, 30 %"),
        ({"state": State.STOPPED}, "is STOPPED"),
        ({"state": State.FAILED, "error": Problem(code="x", message="no memory")}, "no memory"),
        ({"state": State.STARTING, "port": 1}, "is STARTING"),  # nobody listens there yet
    ],
)
def test_a_deployment_that_is_not_ready_is_503_with_its_state(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    async def story() -> None:
        async with door(tmp_path, {"a": Echo("a")}) as one:
            one.change("a", **changes)
            status, headers, raw = await one.ask("POST", "/deployments/a/predict", data=b"{}")
            found = json.loads(raw)
            assert (status, found["error"]["code"], found["deployment_id"]) == (
                503,
                "not_ready",
                "a",
            )
            assert int(headers["retry-after"]) > 0
            assert words in found["error"]["message"]
            body = b'{"model": "a"}'
            status, headers, raw = await one.ask("POST", "/v1/completions", data=body, headers=JSON)
            assert (status, json.loads(raw)["error"]["code"]) == (503, "not_ready")
            status, _, raw = await one.ask("GET", "/v2/models/a/ready")
            assert (status, words in json.loads(raw)["error"]) == (503, True)

    tell(story)


@pytest.mark.parametrize("state", [State.PENDING, State.FETCHING, State.DRAINING, State.BACKOFF])
def test_whose_worker_is_being_replaced_is_asked_at_its_port(state: State, tmp_path: Path) -> None:
    async def story() -> None:
        async with door(tmp_path, {"a": Echo("a")}) as one:
            one.change("a", state=state)
            assert (await one.ask("POST", "/deployments/a/predict", data=b"{}"))[0] == 203

    tell(story)


@pytest.mark.promise(21, fault="a foreign page, and a foreign Host, ask the front door")
def test_who_is_no_neighbour_is_refused(tmp_path: Path) -> None:
    async def story() -> None:
        echo = Echo("a")
        async with door(tmp_path, {"a": echo}) as one:
            paths = ("/deployments/a/predict", "/v2/models/a", "/v1/models", "/health", "/nowhere")
            for path in paths:
                rebound = await one.ask("GET", path, headers={"host": "evil.example"})
                foreign = await one.ask("GET", path, headers={"origin": "https://evil.example"})
                assert (rebound[0], foreign[0]) == (421, 403), path
            assert not echo.asked
            page = {"origin": f"http://127.0.0.1:{one.port}"}
            assert (await one.ask("GET", "/deployments/a/predict", headers=page))[0] == 203

    tell(story)


def test_pages_that_a_deployment_lists_may_ask_it_and_no_other(tmp_path: Path) -> None:
    async def story() -> None:
        origin = {"origin": "https://app.example"}
        async with door(tmp_path, {"a": Echo("a"), "b": Echo("b")}) as one:
            a, b = one._roster.all()
            one.show(replace(a, spec=replace(a.spec, allow_origins=("https://app.example",))), b)
            assert (await one.ask("GET", "/deployments/a/x", headers=origin))[0] == 203
            assert (await one.ask("GET", "/deployments/b/x", headers=origin))[0] == 403
            assert (await one.ask("GET", "/health", headers=origin))[0] == 403
            assert (await one.ask("GET", "/v1/models", headers=origin))[0] == 200
            asked = {"embeddings": "POST", "models": "GET", "models/a": "GET"}
            for path, method in asked.items():
                status, headers, _ = await one.ask("OPTIONS", f"/v1/{path}", headers=origin)
                assert (status, headers["access-control-allow-methods"]) == (204, method), path
                assert headers["access-control-allow-origin"] == "https://app.example"
            wrong = await one.ask("POST", "/v1/embeddings", data=b"{", headers={**JSON, **origin})
            assert wrong[1]["access-control-allow-origin"] == "https://app.example"

    tell(story)


def test_names_in_paths_may_be_percent_encoded(tmp_path: Path) -> None:
    async def story() -> None:
        a = Echo("a")
        async with door(tmp_path, {"a": a}) as one:
            paths = ("/v2/models/org%2Fa/infer", "/v2/models/%61/infer", "/deployments/%61/health")
            for path in paths:
                assert (await one.ask("POST", path))[::2] == (203, b"a"), path
        assert [asked["path"] for asked in a.asked] == [*paths[:2], "/health"]

    tell(story)


@pytest.mark.parametrize(
    ("asked", "where"),
    [
        ("/deployments/a", "/deployments/a/"),
        ("/deployments/%61", "/deployments/a/"),
        ("/docs/", "/docs"),
        ("/deployments", "/"),
        ("/deployments/", "/"),
    ],
)
def test_who_looks_where_relative_links_lead_astray_is_sent_to_the_right_place(
    asked: str, where: str, tmp_path: Path
) -> None:
    async def story() -> None:
        async with door(tmp_path, {"a": Echo("a")}) as one:
            status, headers, _ = await one.ask("GET", asked)
            found = URL(one.url + asked, encoded=True).join(URL(headers["location"]))
            assert (status, found.path) == (307, where)

    tell(story)


def test_a_foreign_page_knows_of_no_deployment_but_those_that_let_it_ask(tmp_path: Path) -> None:
    async def story() -> None:
        async with door(tmp_path, {"a": Echo("a"), "b": Echo("b")}) as one:
            a, b = one._roster.all()
            one.show(a, replace(b, spec=replace(b.spec, allow_origins=("https://b.example",))))
            page = {"origin": "https://B.example", **JSON}
            listed = json.loads((await one.ask("GET", "/v1/models", headers=page))[2])
            assert [found["id"] for found in listed["data"]] == ["b"]
            assert (await one.ask("GET", "/v1/models/b", headers=page))[0] == 200
            for method, path in (("GET", "/v1/models/a"), ("POST", "/v1/embeddings")):
                data = b'{"model": "a"}' if method == "POST" else None
                status, _, raw = await one.ask(method, path, headers=page, data=data)
                assert (status, b"deployments: b)" in raw) == (404, True)
            own = {"origin": one.url}
            listed = json.loads((await one.ask("GET", "/v1/models", headers=own))[2])
            assert [found["id"] for found in listed["data"]] == ["a", "b"]

    tell(story)


def test_headers_pass_unchanged_or_are_refused(tmp_path: Path) -> None:
    async def told(one: Door, value: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", one.port)
        writer.write(
            b"GET /deployments/a/x HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
            b"x-word: " + value + b"\r\n\r\n"
        )
        answer = await reader.read()
        writer.close()
        return answer

    async def story() -> None:
        echo = Echo("a")
        async with door(tmp_path, {"a": echo}) as one:
            assert b" 203 " in await told(one, "é€".encode())
            assert b" 400 " in (refused := await told(one, b"\xe9"))
            assert b"x-word" in refused
        (asked,) = echo.asked
        assert asked["headers"]["x-word"].encode("latin-1") == "é€".encode()

    tell(story)


def test_what_is_nowhere_is_404_and_a_page_takes_only_gets(tmp_path: Path) -> None:
    async def story() -> None:
        async with door(tmp_path, {"a": Echo("a")}) as one:
            assert (await one.ask("HEAD", "/health"))[::2] == (200, b"")
            assert json.loads((await one.ask("GET", "/health"))[2]) == {
                "status": "healthy",
                "supervisor": "connected",
                "deployments": 1,
                "running": 1,
            }
            status, headers, _ = await one.ask("POST", "/health")
            assert (status, headers["allow"]) == (405, "GET, HEAD")
            for path in ("/nowhere", "/deployments/c", "/v1x", "/%61pi/v1/status"):
                status, headers, raw = await one.ask("GET", path)
                assert status == 404, path
                assert json.loads(raw)["request_id"] == headers["x-request-id"]
            status, _, raw = await one.ask("GET", "/deployments/c/predict")
            assert json.loads(raw)["error"]["hint"] == "deployments: a"

    tell(story)
