"""What a request brought, and what it was answered, goes when it is over: not when garbage is collected
next, which may be hundreds of requests later."""

from __future__ import annotations

import contextlib
import gc
import http.client
import json
from collections.abc import Iterator

import pytest

from tests.clients.served import Served, served
from tests.worker.live import eventually

SIZE = 3_000_000


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("echo")
    (folder / "config.json").write_text('{"model_type": "echo", "architectures": ["Echo"]}')
    with served(folder, "echo") as one:
        yield one


@contextlib.contextmanager
def asked(one: Served, **body: object) -> Iterator[http.client.HTTPConnection]:
    """A client that has asked, and leaves at the end of ``with``."""
    connection = http.client.HTTPConnection("127.0.0.1", one.port, timeout=30)
    with contextlib.closing(connection):
        raw = json.dumps({"text": "x" * SIZE, **body})
        connection.request("POST", "/predict", raw, {"content-type": "application/json"})
        yield connection


def kept() -> int:
    """How many objects hold something large."""
    large = [
        one
        for one in gc.get_objects()
        if any(
            isinstance(each, str | bytes) and len(each) >= SIZE for each in gc.get_referents(one)
        )
    ]
    return len(large)


@pytest.mark.promise(17, fault="large inputs, one after another, and nothing that collects garbage")
@pytest.mark.parametrize(
    ("body", "status"), [({}, 200), ({"nonsense": 1}, 422), ({"delay": 30}, 0)]
)
def test_nothing_of_a_request_is_kept(echo: Served, body: dict[str, object], status: int) -> None:
    gc.collect()
    gc.disable()
    try:
        for _ in range(2):
            with asked(echo, **body) as connection:
                if status:
                    response = connection.getresponse()
                    response.read()
                    assert response.status == status
                else:
                    eventually(lambda: echo.state.in_flight == 1)
            eventually(lambda: echo.state.in_flight == 0)
        eventually(lambda: not kept())
    finally:
        gc.enable()
