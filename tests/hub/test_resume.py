"""However a fetch ends, what has come stays, nothing half is taken for whole, the next goes on."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from modeldeploy.hub.fit import human
from modeldeploy.schema.fetch import FetchDiscarded
from tests.fakehub import FakeHub, etag_of
from tests.hub.conftest import files, needed
from tests.hub.fetcher import Fetcher, Running

WEIGHTS = "*/model.safetensors"
CONTENT = files(size=400_000)
ETAG = etag_of("model.safetensors", CONTENT["model.safetensors"])


def partial(fetcher: Fetcher) -> Path:
    return fetcher.cache / "models--org--model" / "blobs" / f"{ETAG}.partial"


def blob(fetcher: Fetcher) -> Path:
    return partial(fetcher).with_suffix("")


def close_stdin(running: Running) -> None:
    running.stdin.close()


def kill(running: Running) -> None:
    running.process.kill()


def terminate(running: Running) -> None:
    running.process.send_signal(signal.SIGTERM)


def interrupt(running: Running) -> None:
    running.process.send_signal(signal.SIGINT)


@pytest.mark.parametrize("end", [kill, terminate, interrupt, close_stdin])
@pytest.mark.promise(12, fault="the fetcher is killed in a download")
def test_an_ended_fetch_is_resumed_where_it_was(
    fake_hub: FakeHub, fetcher: Fetcher, end: Callable[[Running], None]
) -> None:
    fake_hub.add("org/model", CONTENT)
    fake_hub.fault(WEIGHTS, rate=400_000)
    with fetcher.start("org/model") as running:
        running.wait_for_bytes(100_000)
        end(running)
        assert running.process.wait(5) != 0
        assert all(b'"done"' not in line for line in running.stdout)
    begun = partial(fetcher).stat().st_size
    assert 90_000 < begun < 400_000
    assert not blob(fetcher).exists()
    assert not list(fetcher.cache.rglob("snapshots/*/model.safetensors"))

    fake_hub.heal()
    fake_hub.forget()
    outcome = fetcher.run("org/model")
    assert fake_hub.sent(WEIGHTS) == 400_000 - begun
    assert outcome.model.downloaded_bytes == fake_hub.sent("*/resolve/*")
    assert outcome.downloads[0].done_bytes >= begun
    assert (Path(outcome.model.snapshot) / "model.safetensors").read_bytes() == CONTENT[
        "model.safetensors"
    ]
    assert not partial(fetcher).exists()


def test_stdin_at_its_end_ends_it_at_once_even_in_a_dead_connection(
    fake_hub: FakeHub, fetcher: Fetcher
) -> None:
    fake_hub.add("org/model", CONTENT)
    fake_hub.fault("/api/*", silent=True)
    with fetcher.start("org/model") as running:
        running.wait_for("asking the Hub")
        running.stdin.close()
        assert running.process.wait(4) != 0


def test_the_deadline_ends_it_and_the_next_goes_on(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    fake_hub.add("org/model", CONTENT)
    fake_hub.fault(WEIGHTS, rate=120_000)
    problem = fetcher.problem("org/model", download_timeout=2.0)
    assert problem.code == "download_timeout"
    assert "MAX_DOWNLOAD_TIMEOUT" in problem.message
    assert f"of {human(needed(CONTENT))}" in problem.message
    assert "modeldeploy start" in problem.hint
    begun = partial(fetcher).stat().st_size
    assert 0 < begun < 400_000
    fake_hub.heal()
    fake_hub.forget()
    fetcher.model("org/model")
    assert fake_hub.sent(WEIGHTS) == 400_000 - begun


@pytest.mark.promise(12, fault="a Hub that never answers")
def test_the_deadline_bounds_a_hub_that_never_answers(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    fake_hub.add("org/model", CONTENT)
    fake_hub.fault("/api/*", silent=True)
    assert fetcher.problem("org/model", download_timeout=0.8).code == "download_timeout"


def test_the_deadline_bounds_waiting_for_another(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    fake_hub.add("org/model", CONTENT)
    fake_hub.fault(WEIGHTS, rate=50_000)
    with fetcher.start("org/model") as first:
        first.wait_for_bytes(1000)
        assert fetcher.problem("org/model", download_timeout=0.8).code == "download_timeout"


@pytest.mark.promise(12, fault="a partial file rots on the disk")
def test_a_partial_file_that_rotted_is_begun_anew(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    fake_hub.add("org/model", CONTENT)
    partial(fetcher).parent.mkdir(parents=True)
    partial(fetcher).write_bytes(b"\0" * 1000)
    outcome = fetcher.run("org/model")
    assert outcome.model.downloaded_bytes == needed(CONTENT) - 1000 + 400_000
    done = [line.done_bytes for line in outcome.downloads]
    assert done == sorted(done)
    assert done[-1] == needed(CONTENT)


@pytest.mark.parametrize("size", [400_000, 400_001])
def test_a_partial_file_that_is_whole_or_too_long(
    fake_hub: FakeHub, fetcher: Fetcher, size: int
) -> None:
    fake_hub.add("org/model", CONTENT)
    partial(fetcher).parent.mkdir(parents=True)
    partial(fetcher).write_bytes((CONTENT["model.safetensors"] + b"!")[:size])
    rest = needed(CONTENT) - 400_000
    expected = rest if size == 400_000 else needed(CONTENT)
    assert fetcher.model("org/model").downloaded_bytes == expected


def test_what_is_unfinished_can_be_discarded(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    fake_hub.add("org/model", CONTENT)
    fake_hub.fault(WEIGHTS, rate=400_000)
    with fetcher.start("org/model") as running:
        running.wait_for_bytes(50_000)
        assert _discard(fetcher) == FetchDiscarded()
        assert partial(fetcher).exists(), "it was another's, which is still at it"
        kill(running)
        running.process.wait(5)
    assert _discard(fetcher) == FetchDiscarded()
    assert not partial(fetcher).exists()
    fake_hub.heal()
    assert fetcher.model("org/model").downloaded_bytes >= 400_000


def _discard(fetcher: Fetcher) -> object:
    request = replace(fetcher.request("org/model"), discard=True)
    return fetcher.send(msgspec.json.encode(request)).lines[-1]
