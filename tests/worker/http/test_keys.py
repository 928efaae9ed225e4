"""API keys at a worker: who is answered, who is not, and in which words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modeldeploy import apikeys
from modeldeploy.errors import InvalidApiKey, UsageError
from modeldeploy.web.incoming import Incoming
from modeldeploy.web.keys import Keyring
from tests.worker.live import LiveWorker, live_worker

KEY, OTHER = apikeys.new_key(), apikeys.new_key()


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveWorker]:
    folder = tmp_path_factory.mktemp("keyed")
    keys = (apikeys.digest_of(KEY), apikeys.digest_of(OTHER))
    with live_worker(folder, "echo", folder, keys=keys) as worker:
        worker.until("ready")
        yield worker


@pytest.mark.parametrize(
    "sent",
    [
        {"authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer  {OTHER}"},
        {"x_api_key": OTHER},
        {"authorization": "Bearer none", "x_api_key": KEY},
    ],
)
def test_whoever_sends_a_key_is_answered(keyed: LiveWorker, sent: dict[str, str]) -> None:
    assert keyed.ask("POST", "/predict", {"text": "x"}, **sent).status == 200


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"authorization": "Bearer none"},
        {"authorization": f"Basic {KEY}"},
        {"authorization": KEY},
        {"x_api_key": KEY[:-1]},
        {"x_api_key": f"{KEY}x"},
        {"x_api_key": apikeys.digest_of(KEY)},
        {"x_api_key": "\xff" * 40},
    ],
)
@pytest.mark.promise(20, fault="requests without a key, and with wrong ones")
def test_nobody_else_is(keyed: LiveWorker, sent: dict[str, str]) -> None:
    refused = keyed.ask("POST", "/predict", {"text": "x"}, **sent)
    assert (refused.status, refused.code) == (401, "invalid_api_key")
    assert refused.headers["www-authenticate"] == "Bearer"
    assert KEY[8:20] not in str(refused.body)


def test_it_is_told_in_each_dialect(keyed: LiveWorker) -> None:
    shapes: dict[str, set[str]] = {
        "/": {"error", "error_type", "code", "hint", "request_id"},
        "/v2/models/demo/infer": {"error"},
        "/v1/chat/completions": {"error"},
    }
    for path, fields in shapes.items():
        refused = keyed.ask("POST", path, {})
        assert refused.status == 401, path
        assert set(refused.body) >= fields, path
    openai: dict[str, Any] = keyed.ask("POST", "/v1/chat/completions", {}).body["error"]
    assert openai["type"] == "invalid_request_error"
    assert openai["code"] == "invalid_api_key"


def test_health_is_open_and_the_pages_are_on_this_machine(keyed: LiveWorker) -> None:
    for path in ("/health", "/livez", "/readyz", "/v2/health/live", "/metrics", "/docs"):
        assert keyed.ask("GET", path).status == 200, path
    assert keyed.ask("GET", "/info").status == 401
    document = keyed.ask("GET", "/openapi.json").body
    assert set(document["components"]["securitySchemes"]) == {"bearer", "apiKey"}
    assert document["paths"]["/predict"]["post"]["security"] == [{"bearer": []}, {"apiKey": []}]
    assert document["paths"]["/health"]["get"]["security"] == []


def test_keys_are_changed_while_it_runs(keyed: LiveWorker) -> None:
    both = (apikeys.digest_of(KEY), apikeys.digest_of(OTHER))

    def status(key: str) -> int:
        return keyed.ask("POST", "/predict", {"text": "x"}, x_api_key=key).status

    def order(*digests: str) -> None:
        body = f'{{"digests": {list(digests)}}}'.replace("'", '"')
        assert keyed.insider("PUT", "/keys", body).status == 204
        report = keyed.report()
        assert report is not None
        assert report.keys == apikeys.mark_of(digests)

    order(both[0])
    assert (status(KEY), status(OTHER)) == (200, 401)
    assert keyed.insider("PUT", "/keys", '{"digests": ["x"]}').status == 400
    assert status(OTHER) == 401
    order()
    assert status("none") == 200
    order(*both)
    assert (status(KEY), status(OTHER), status("none")) == (200, 200, 401)


def _asked(path: str, client: str, server: str) -> Incoming:
    scope = {"path": path, "headers": [], "client": (client, 5), "server": (server, 80)}

    async def nothing() -> dict[str, Any]:
        return {}

    return Incoming(scope, nothing)


def test_the_pages_need_a_key_from_elsewhere() -> None:
    ring = Keyring((apikeys.digest_of(KEY),))
    for client, server in (("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("10.0.0.5", "10.0.0.5")):
        ring.check(_asked("/metrics", client, server))
    for path in ("/metrics", "/docs/swagger-ui.css", "/openapi.json"):
        with pytest.raises(InvalidApiKey):
            ring.check(_asked(path, "10.0.0.7", "10.0.0.5"))
    ring.check(_asked("/health", "10.0.0.7", "10.0.0.5"))


@pytest.mark.parametrize("key", ["", "short", "a" * 31, "a b" * 20, "é" * 40, "a" * 257])
def test_a_key_that_may_be_guessed_is_refused_and_not_told(key: str) -> None:
    with pytest.raises(UsageError) as refused:
        apikeys.checked(key)
    assert not key or key not in str(refused.value)


def test_new_keys_are_keys(tmp_path: Path) -> None:
    made = {apikeys.new_key() for _ in range(50)}
    assert len(made) == 50
    assert all(apikeys.checked(key) == key and len(key) == 47 for key in made)
