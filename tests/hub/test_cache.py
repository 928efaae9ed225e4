"""What is cached is trusted only after a look, mended when damaged, and used without a network."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakehub import FakeHub, etag_of
from tests.hub.conftest import files, needed
from tests.hub.fetcher import Fetcher

CONTENT = files()
ETAG = etag_of("model.safetensors", CONTENT["model.safetensors"])


def blob(fetcher: Fetcher) -> Path:
    return fetcher.cache / "models--org--model" / "blobs" / ETAG


def damage(fetcher: Fetcher) -> None:
    data = bytearray(blob(fetcher).read_bytes())
    data[1000] ^= 0xFF
    blob(fetcher).write_bytes(bytes(data))


def fetch_with_hugging_face(fetcher: Fetcher, *names: str) -> None:
    """As the user's other tools fill the cache."""
    script = (
        "import sys; from huggingface_hub import snapshot_download;"
        "snapshot_download('org/model', cache_dir=sys.argv[1], allow_patterns=sys.argv[2:] or None)"
    )
    env = fetcher.environment() | {"HF_ENDPOINT": str(fetcher.endpoint)}
    subprocess.run([sys.executable, "-c", script, str(fetcher.cache), *names], check=True, env=env)


@pytest.mark.promise(12, fault="a cached file rots on the disk")
def test_a_damaged_cached_file_is_found_and_replaced(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    fake_hub.add("org/model", CONTENT)
    fetcher.model("org/model")
    damage(fetcher)
    outcome = fetcher.run("org/model")
    assert outcome.model.downloaded_bytes == len(CONTENT["model.safetensors"])
    assert blob(fetcher).read_bytes() == CONTENT["model.safetensors"]
    assert "damaged" in outcome.stderr
    assert not list(fetcher.cache.rglob("*.damaged"))


@pytest.mark.promise(12, fault="a cached file is cut")
def test_a_cut_cached_file_is_replaced(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    fake_hub.add("org/model", CONTENT)
    fetcher.model("org/model")
    blob(fetcher).write_bytes(CONTENT["model.safetensors"][:5])
    assert fetcher.model("org/model").downloaded_bytes == len(CONTENT["model.safetensors"])


def test_a_damaged_file_of_a_pinned_commit_is_replaced(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    commit = fake_hub.add("org/model", CONTENT)
    fetcher.model("org/model")
    damage(fetcher)
    model = fetcher.model("org/model", revision=commit)
    assert model.downloaded_bytes == len(CONTENT["model.safetensors"])


def test_what_another_tool_cached_is_verified_and_used(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    fake_hub.add("org/model", CONTENT)
    fetch_with_hugging_face(fetcher)
    fake_hub.forget()
    outcome = fetcher.run("org/model")
    assert outcome.model.downloaded_bytes == 0
    assert fake_hub.sent("*/resolve/*") == 0


@pytest.mark.promise(12, fault="another tool cached a damaged file")
def test_what_another_tool_cached_damaged_is_replaced(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    fake_hub.add("org/model", CONTENT)
    fetch_with_hugging_face(fetcher)
    damage(fetcher)
    fetcher.model("org/model")
    assert blob(fetcher).read_bytes() == CONTENT["model.safetensors"]


def test_a_memory_that_cannot_be_read_costs_nothing_but_a_look(
    fake_hub: FakeHub, fetcher: Fetcher
) -> None:
    fake_hub.add("org/model", CONTENT)
    fetcher.model("org/model")
    record = fetcher.cache / "models--org--model" / ".modeldeploy-verified.json"
    for content in (b"{", b'{"version": 99, "listings": {}, "verified": {}}', b"\xff"):
        record.write_bytes(content)
        assert fetcher.model("org/model").downloaded_bytes == 0


def test_removed_snapshots_come_back_from_the_blobs(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    commit = fake_hub.add("org/model", CONTENT)
    snapshot = Path(fetcher.model("org/model").snapshot)
    shutil.rmtree(snapshot)
    assert fetcher.model("org/model", revision=commit).downloaded_bytes == 0
    assert (snapshot / "config.json").exists()


@pytest.mark.parametrize("way", ["offline", "no network", "server error", "rate limited"])
def test_a_cached_model_needs_no_hub(fake_hub: FakeHub, fetcher: Fetcher, way: str) -> None:
    commit = fake_hub.add("org/model", CONTENT, pipeline_tag="text-generation")
    first = fetcher.model("org/model")
    fake_hub.forget()
    if way == "no network":
        fetcher.endpoint = "http://127.0.0.1:9"
    if way == "server error":
        fake_hub.fault("*", status=503)
    if way == "rate limited":
        fake_hub.fault("*", status=429)
    outcome = fetcher.run("org/model", offline=way == "offline")
    assert outcome.model == type(first)(
        **{
            name: getattr(first, name)
            for name in first.__struct_fields__
            if name != "downloaded_bytes"
        },
        downloaded_bytes=0,
    )
    assert outcome.model.commit == commit
    assert any("offline, using the cached snapshot" in line.message for line in outcome.progress)
    assert fake_hub.requests == [] or way in {"server error", "rate limited"}


def test_offline_with_what_another_tool_cached(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    fake_hub.add("org/model", CONTENT)
    fetch_with_hugging_face(fetcher)
    assert fetcher.model("org/model", offline=True).total_bytes == needed(CONTENT)


def test_offline_with_a_part_that_another_tool_cached(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    fake_hub.add("org/model", CONTENT)
    fetch_with_hugging_face(fetcher, "config.json")
    assert fetcher.problem("org/model", offline=True).code == "no_network"


def test_offline_with_nothing_cached(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    fake_hub.add("org/model", CONTENT)
    problem = fetcher.problem("org/model", offline=True)
    assert problem.code == "no_network"
    assert "offline" in problem.message
    assert fake_hub.requests == []


def test_offline_with_a_damaged_file(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    commit = fake_hub.add("org/model", CONTENT)
    fetcher.model("org/model")
    damage(fetcher)
    fake_hub.forget()
    assert fetcher.problem("org/model", offline=True, revision=commit).code == "no_network"
    assert fake_hub.requests == []


def test_a_moved_branch_is_followed_only_when_the_hub_is_there(
    fake_hub: FakeHub, fetcher: Fetcher
) -> None:
    old = fake_hub.add("org/model", CONTENT)
    fetcher.model("org/model")
    new = fake_hub.add("org/model", files({"vocab.txt": b"new"}))
    assert fetcher.model("org/model", offline=True).commit == old
    assert fetcher.model("org/model").commit == new
    assert fetcher.model("org/model", offline=True).commit == new


def test_a_cache_in_which_nothing_can_be_made(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    fake_hub.add("org/model", CONTENT)
    fetcher.cache.write_text("a file where the cache should be")
    problem = fetcher.problem("org/model")
    assert problem.code == "download_failed"
    assert "--cache-dir" in problem.hint
