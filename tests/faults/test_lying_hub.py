"""A Hub that lies, answers what is no HTTP, and sends its client in circles. What passes, stalls and
trickles is in ``tests/hub/test_faults.py``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.fakehub import FakeHub
from tests.hub.conftest import files
from tests.hub.fetcher import Fetcher

API, WEIGHTS = "/api/*", "*/model.safetensors"
CONTENT = files(size=100_000)
GARBAGE = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"


ANYWHERE = (
    {"raw": b""},
    {"raw": GARBAGE},
    {"raw": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n"},
    {"raw": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"},
    {"raw": b"HTTP/1.1 206 \r\nContent-Range: bytes 7-3/1\r\nContent-Length: 2\r\n\r\n{}"},
    {"redirect": "again"},
    {"redirect": "file:///etc/passwd"},
    {"redirect": "http://127.0.0.1:9/"},
    {"lie": -5000},
)
# A body that is said to be longer than it is is whole all the same; a file in an info is not.
LIES = [(pattern, fault) for pattern in (API, WEIGHTS) for fault in ANYWHERE] + [
    (API, {"lie": 5000})
]


@pytest.fixture
def fetcher(fake_hub: FakeHub, tmp_path: Path) -> Fetcher:
    home = tmp_path / "home"
    home.mkdir()
    one = Fetcher(cache=tmp_path / "cache", home=home, endpoint=fake_hub.endpoint)
    one.limits = replace(one.limits, attempts=2, hub_attempts=2)
    return one


@pytest.mark.promise(12, fault="a Hub whose sizes, lengths, bytes or addresses are not true")
@pytest.mark.promise(13, fault="a Hub that speaks no HTTP, hangs up, or redirects for ever")
@pytest.mark.parametrize(("pattern", "fault"), LIES, ids=str)
def test_a_lying_hub_gets_nothing_a_final_name(
    fake_hub: FakeHub, fetcher: Fetcher, pattern: str, fault: dict[str, Any]
) -> None:
    fake_hub.add("org/model", CONTENT)
    fetcher.token = "hf_known"
    fake_hub.fault(pattern, **fault)
    outcome = fetcher.run("org/model")
    assert outcome.problem.hint
    assert "\n" not in outcome.problem.message
    assert "Traceback" not in outcome.stderr
    assert len(fake_hub.asked()) < 60, "retries are not bounded"
    assert not list(fetcher.cache.rglob("snapshots/*/model.safetensors"))
    assert not [
        path
        for path in fetcher.cache.rglob("blobs/*")
        if path.stat().st_size > 10_000 and path.suffix != ".partial"
    ]
    fake_hub.heal()
    snapshot = Path(fetcher.model("org/model").snapshot)
    assert (snapshot / "model.safetensors").read_bytes() == CONTENT["model.safetensors"]
