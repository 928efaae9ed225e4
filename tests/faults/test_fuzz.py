"""Arbitrary bytes and arbitrary JSON to every route: an answer of 2xx or 4xx, never 5xx, and never
none. What the documents promise is tried by ``tests/clients/test_schemathesis.py``."""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modeldeploy import builtin
from tests.clients.served import Served, served
from tests.models import sounds, tiny

SECONDS = 30.0
EXAMPLES = 120
MODELS: dict[str, Callable[[Path], Path]] = {
    "echo": lambda folder: folder,
    "text-classification": lambda folder: builtin.path("sentiment"),
    "feature-extraction": lambda folder: tiny.sentence_encoder(folder, "mean"),
    "text-ranking": tiny.cross_encoder,
    "text-generation": tiny.chat,
    "image-classification": lambda folder: builtin.path("digits"),
    "automatic-speech-recognition": sounds.whisper,
}
FORM = "multipart/form-data; boundary=x"
KINDS = ("application/json", FORM, "application/octet-stream", "audio/wav", "image/png", "")
FIELDS = st.sampled_from(["file", "model", "inputs", "parameters", "stream", "language", '"', ""])
WAV = sounds.encoded(sounds.noise(0.05))
OIP_HEADER = "inference-header-content-length"
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(10**30), max_value=10**30)
    | st.floats()
    | st.text(max_size=30)
    | st.sampled_from(["inf", "1e400", "\x00", "\ud800", "data:image/png;base64,", "http://x/"])
)
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.fixture(scope="module", params=MODELS)
def one(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    snapshot = MODELS[request.param](tmp_path_factory.mktemp("model"))
    with served(snapshot, request.param) as deployment:
        yield deployment


def posts_of(deployment: Served) -> list[tuple[str, Any]]:
    """Every path that is posted to, and an example of its body."""
    connection = http.client.HTTPConnection("127.0.0.1", deployment.port, timeout=SECONDS)
    try:
        connection.request("GET", "/openapi.json")
        document = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    found = []
    for path, methods in document["paths"].items():
        content = methods.get("post", {}).get("requestBody", {}).get("content", {})
        found += [(path, kind.get("example")) for kind in content.values()]
    assert len(found) >= 3
    return found


@st.composite
def mutated(draw: st.DrawFn, example: Any) -> Any:
    """The example with something of it replaced, left out, or added."""
    if isinstance(example, dict) and example and draw(st.integers(0, 5)):
        key = draw(st.sampled_from(sorted(example)))
        rest = {name: value for name, value in example.items() if name != key}
        match draw(st.integers(0, 3)):
            case 0:
                return rest
            case 1:
                return {**example, draw(st.text(max_size=12)): draw(JSON)}
            case _:
                return {**rest, key: draw(mutated(example[key]))}
    if isinstance(example, list) and example and draw(st.integers(0, 5)):
        at = draw(st.integers(0, len(example) - 1))
        return [*example[:at], draw(mutated(example[at])), *example[at + 1 :]]
    return draw(JSON)


def encoded(value: Any) -> bytes:
    return json.dumps(_tame(value)).encode("utf-8", "surrogatepass")


def _tame(body: Any) -> Any:
    """The echo task can be asked to fail and to wait: that it does so is tested elsewhere."""
    if isinstance(body, dict):
        tamed = {name: _tame(value) for name, value in body.items()}
        return {**tamed, "fail": False, "delay": 0} if {"fail", "delay"} & body.keys() else tamed
    return [_tame(one) for one in body] if isinstance(body, list) else body


@st.composite
def forms(draw: st.DrawFn) -> bytes:
    """Almost what a browser sends."""
    lines = []
    for _ in range(draw(st.integers(0, 4))):
        named = f'form-data; name="{draw(FIELDS)}"' + draw(
            st.sampled_from(["", '; filename="a.wav"'])
        )
        content = draw(st.binary(max_size=60) | JSON.map(encoded) | st.just(WAV))
        lines += [b"--x", f"content-disposition: {named}".encode(), b"", content]
    return b"\r\n".join([*lines, draw(st.sampled_from([b"--x--\r\n", b"--x--", b"--x", b""]))])


@st.composite
def requests(draw: st.DrawFn, posts: list[tuple[str, Any]]) -> tuple[str, bytes, dict[str, str]]:
    path, example = draw(st.sampled_from(posts))
    body = draw(
        st.binary(max_size=200)
        | JSON.map(encoded)
        | mutated(example).map(encoded)
        | st.builds(bytes.__add__, mutated(example).map(encoded), st.binary(max_size=40))
    )
    headers = {"content-type": draw(st.sampled_from(KINDS[:1] * 5 + KINDS))}
    if headers["content-type"] == FORM:
        body = draw(forms())
    if path.endswith("/infer") and draw(st.booleans()):
        length = st.integers(-1, len(body) + 1) | st.integers()
        headers[OIP_HEADER] = str(draw(length))
    return path, body, headers


@pytest.mark.promise(17, fault="arbitrary bytes and JSON on every route of every dialect")
def test_nothing_that_is_sent_makes_a_worker_fail(one: Served) -> None:
    posts = posts_of(one)

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(requests(posts))
    def is_answered(sent: tuple[str, bytes, dict[str, str]]) -> None:
        path, body, headers = sent
        connection = http.client.HTTPConnection("127.0.0.1", one.port, timeout=SECONDS)
        try:
            connection.request("POST", path, body, headers)
            response = connection.getresponse()
            said = response.read()
        finally:
            connection.close()
        assert response.status < 500, (path, headers, body, said)

    is_answered()


@pytest.mark.promise(17, fault="JSON nested deeper than anybody's stack")
@pytest.mark.parametrize("opening", [b"[", b'{"text":', b'{"inputs":['])
def test_deep_nesting_is_a_bad_request(one: Served, opening: bytes) -> None:
    for path, _ in posts_of(one):
        connection = http.client.HTTPConnection("127.0.0.1", one.port, timeout=SECONDS)
        body = opening * (10 * sys.getrecursionlimit())
        try:
            connection.request("POST", path, body, {"content-type": "application/json"})
            assert 400 <= connection.getresponse().status < 500, path
        finally:
            connection.close()
