"""What goes wrong on the way is mended where it can be, within bounds, and named where not."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.fakehub import FakeHub, etag_of
from tests.hub.conftest import files, needed
from tests.hub.fetcher import Fetcher

WEIGHTS = "*/model.safetensors"
CONTENT = files(size=400_000)


@pytest.mark.parametrize(
    "fault",
    [
        {"truncate": 100_000, "times": 2},
        {"reset": 100_000, "times": 2},
        {"stall": 100_000, "times": 1},
        {"status": 503, "times": 2},
        {"status": 500, "times": 1},
        {"status": 429, "times": 1},
    ],
    ids=lambda fault: next(iter(fault)),
)
@pytest.mark.promise(12, fault="a Hub that truncates, resets, stalls or fails for a moment")
def test_a_passing_fault_costs_only_what_was_lost(
    fake_hub: FakeHub, fetcher: Fetcher, fault: dict[str, Any]
) -> None:
    fake_hub.add("org/model", CONTENT)
    injected = fake_hub.fault(WEIGHTS, **fault)
    outcome = fetcher.run("org/model")
    assert injected.hits == fault["times"]
    assert outcome.model.downloaded_bytes == needed(CONTENT)
    done = [line.done_bytes for line in outcome.downloads]
    assert done == sorted(done)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
@pytest.mark.promise(13, fault="5xx and 429 for a moment")
def test_a_hub_that_is_away_for_a_moment(fake_hub: FakeHub, fetcher: Fetcher, status: int) -> None:
    fake_hub.add("org/model", CONTENT)
    fake_hub.fault("/api/*", status=status, times=2)
    fetcher.model("org/model")


@pytest.mark.promise(13, fault="5xx for ever")
def test_retries_are_bounded(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    fake_hub.add("org/model", CONTENT)
    fake_hub.fault(WEIGHTS, status=503)
    assert fetcher.problem("org/model").code == "hub_unavailable"
    assert len(fake_hub.asked(WEIGHTS)) == fetcher.limits.attempts


def test_a_connection_that_breaks_without_progress_is_given_up(
    fake_hub: FakeHub, fetcher: Fetcher
) -> None:
    fake_hub.add("org/model", CONTENT)
    fake_hub.fault(WEIGHTS, reset=0)
    problem = fetcher.problem("org/model")
    assert problem.code == "no_network"
    assert "broke off" in problem.message


@pytest.mark.promise(12, fault="a Hub that stalls")
def test_a_stall_has_its_own_deadline(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    fake_hub.add("org/model", CONTENT)
    fake_hub.fault(WEIGHTS, stall=0)
    fetcher.limits = replace(fetcher.limits, stall=0.3)
    problem = fetcher.problem("org/model")
    assert problem.code == "hub_unavailable"
    assert "said nothing more" in problem.message


@pytest.mark.promise(12, fault="a Hub that trickles")
def test_a_trickle_has_its_own_deadline(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    fake_hub.add("org/model", CONTENT)
    fake_hub.fault(WEIGHTS, rate=1000)
    fetcher.limits = replace(fetcher.limits, trickle_window=1.0, trickle_bytes=10_000)
    problem = fetcher.problem("org/model")
    assert problem.code == "download_timeout"
    assert "modeldeploy start" in problem.hint


def test_retry_after_is_obeyed(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    fake_hub.add("org/model", CONTENT)
    fake_hub.fault("/api/*", status=429, headers={"Retry-After": "1"}, times=1)
    begun = time.monotonic()
    fetcher.model("org/model")
    assert time.monotonic() - begun >= 1


@pytest.mark.promise(13, fault="429 with a Retry-After of an hour")
def test_retry_after_is_obeyed_up_to_a_cap(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    fake_hub.add("org/model", CONTENT)
    fake_hub.fault("/api/*", status=429, headers={"Retry-After": "3600"}, times=1)
    fetcher.limits = replace(fetcher.limits, retry_after_cap=0.2)
    begun = time.monotonic()
    fetcher.model("org/model")
    assert time.monotonic() - begun < 20


@pytest.mark.promise(12, fault="one byte of the weights is flipped on the way, once")
def test_a_flipped_byte_is_found_and_fetched_again(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    fake_hub.add("org/model", CONTENT)
    fake_hub.fault(WEIGHTS, flip=1234, times=1)
    outcome = fetcher.run("org/model")
    assert outcome.model.downloaded_bytes == needed(CONTENT) + 400_000
    weights = Path(outcome.model.snapshot) / "model.safetensors"
    assert weights.read_bytes() == CONTENT["model.safetensors"]


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
@pytest.mark.promise(12, fault="a byte of a file is flipped on the way, always")
def test_what_stays_damaged_is_refused_and_leaves_nothing(
    fake_hub: FakeHub, fetcher: Fetcher, name: str
) -> None:
    fake_hub.add("org/model", CONTENT)
    fake_hub.fault(f"*/{name}", flip=3)
    problem = fetcher.problem("org/model")
    assert problem.code == "corrupt_download"
    assert name in problem.message
    assert len(fake_hub.asked(f"*/{name}")) == 2
    left = {path.name for path in fetcher.cache.rglob("*")}
    etag = etag_of(name, CONTENT[name])
    assert not left & {name, etag, f"{etag}.partial"}


def test_a_server_that_ignores_range(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    fake_hub.add("org/model", CONTENT)
    fake_hub.fault(WEIGHTS, ignore_range=True)
    fake_hub.fault(WEIGHTS, truncate=100_000, times=1)
    assert fetcher.model("org/model").downloaded_bytes == needed(CONTENT) + 100_000


@pytest.mark.promise(13, fault="a captive portal answers for the Hub")
def test_an_answer_that_is_no_hubs(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    fake_hub.fault("/api/*", status=200, body=b"<html>please log in to the hotel</html>")
    problem = fetcher.problem("org/model")
    assert problem.code == "download_failed"
    assert "does not answer as a Hub" in problem.message


@pytest.mark.promise(23, fault="a repository whose file names leave the cache")
def test_names_that_would_leave_the_cache_are_not_taken(
    fake_hub: FakeHub, fetcher: Fetcher, tmp_path: Path
) -> None:
    fake_hub.add("org/model", files({"../../../../escaped.json": b"{}", "/abs.json": b"{}"}))
    fetcher.model("org/model")
    assert not list(tmp_path.rglob("escaped.json"))
    assert not fake_hub.asked("*escaped*")
