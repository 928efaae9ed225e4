"""Models of a Hub, ours on the loopback, through the real huggingface_hub and a real worker."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from modeldeploy.schema.events import Event
from modeldeploy.schema.stages import SHARE, Stage
from tests.e2e.instance import Instance, eventually, get, post
from tests.fakehub import FakeHub
from tests.models import tiny

pytestmark = pytest.mark.e2e

WEIGHTS = "*/resolve/*/model.safetensors"


@pytest.fixture
def online(instance: Instance, fake_hub: FakeHub) -> Instance:
    instance.use_hub(fake_hub.endpoint)
    return instance


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.gpt2(tmp_path_factory.mktemp("models") / "gpt2")


def refused(instance: Instance, *arguments: str) -> dict[str, Any]:
    """The error of a deploy that ends in FAILED."""
    done = instance.run("deploy", "--json", *arguments, ok=False)
    assert done.returncode == 3, done.stdout + done.stderr
    error: dict[str, Any] = json.loads(done.stdout)["error"]
    assert error["hint"]
    return error


def test_a_model_is_downloaded_served_and_shared(
    online: Instance, fake_hub: FakeHub, gpt2: Path
) -> None:
    commit = fake_hub.add("org/tiny-gpt2", gpt2)
    fake_hub.fault(WEIGHTS, rate=200_000)
    shown = online.deploy("org/tiny-gpt2")
    assert (shown["name"], shown["revision"]) == ("tiny-gpt2", commit)
    assert shown["task"] == "text-generation"
    status, answer = post(f"{shown['url']}/predict", {"text": "Once", "max_new_tokens": 3})
    assert status == 200
    assert answer["result"][0]["generated_text"].startswith("Once")
    assert get(f"{shown['url']}/info")[1]["revision"] == commit
    _assert_byte_true(online, gpt2)

    fake_hub.forget()
    second = online.deploy("org/tiny-gpt2")
    assert second["name"] == "tiny-gpt2-2"
    assert fake_hub.sent("*/resolve/*") == 0, "what is cached came over the wire again"

    snapshot = Path(online.inspect("tiny-gpt2")["snapshot"])
    hub = Path(online.env["HF_HOME"]) / "hub"
    assert snapshot == hub / "models--org--tiny-gpt2" / "snapshots" / commit


def _assert_byte_true(instance: Instance, model: Path) -> None:
    events: list[Event] = list(instance.client.events("tiny-gpt2"))
    percents = [event.percent for event in events]
    assert percents == sorted(percents)
    assert percents[-1] == 100.0
    counted = [event for event in events if event.unit == "bytes"]
    total = sum(f.stat().st_size for f in model.iterdir())
    assert counted[-1].done == counted[-1].total == total
    low, high = SHARE[Stage.DOWNLOAD]
    for event in counted:
        if event.stage is Stage.DOWNLOAD:
            assert event.percent == pytest.approx(
                low + (high - low) * event.done / event.total, abs=0.01
            )


def test_a_question_answerer_and_a_pinned_revision(
    online: Instance, fake_hub: FakeHub, tmp_path: Path
) -> None:
    old = fake_hub.add("org/qa", tiny.question_answering(tmp_path / "qa"))
    fake_hub.add("org/qa", {"config.json": b"{}"})  # main moves on to something else
    shown = online.deploy(f"org/qa@{old}")
    assert shown["revision"] == old
    _, answer = post(f"{shown['url']}/predict", shown["example"])
    result = answer["result"]
    assert shown["example"]["context"][result["start"] : result["end"]] == result["answer"]


@pytest.mark.promise(13, fault="a repository that is missing, gated, or without the revision")
def test_each_refusal_of_the_hub_is_named(online: Instance, fake_hub: FakeHub, gpt2: Path) -> None:
    fake_hub.add("org/gated", gpt2, gated=True)
    fake_hub.add("org/private", gpt2, private=True)
    fake_hub.add("org/open", gpt2)
    codes = [
        refused(online, "org/nothing")["code"],
        refused(online, "org/gated")["code"],
        refused(online, "org/open@no-such-branch")["code"],
    ]
    assert codes == ["model_not_found", "gated_model", "revision_not_found"]
    states = {one["name"]: one["state"] for one in json.loads(online.run("ls", "--json").stdout)}
    assert states == {"nothing": "FAILED", "gated": "FAILED", "open": "FAILED"}

    online.env["HF_TOKEN"] = "hf_admitted"
    online.run("start", "gated")
    assert online.deploy("org/private")["state"] == "RUNNING"


@pytest.mark.promise(13, fault="no network")
def test_without_a_network_it_says_so_and_serves_what_is_cached(
    online: Instance, fake_hub: FakeHub, gpt2: Path
) -> None:
    fake_hub.add("org/cached", gpt2)
    online.deploy("org/cached", "--name", "first")
    online.env["HF_ENDPOINT"] = "http://127.0.0.1:9"  # nobody listens there
    assert refused(online, "org/new")["code"] == "no_network"
    assert online.deploy("org/cached", "--name", "second")["state"] == "RUNNING"


@pytest.mark.promise(12, fault="a Hub that trickles past MAX_DOWNLOAD_TIMEOUT")
def test_a_failed_download_goes_on_where_it_stopped(
    online: Instance, fake_hub: FakeHub, gpt2: Path
) -> None:
    fake_hub.add("org/slow", gpt2)
    size = (gpt2 / "model.safetensors").stat().st_size
    fake_hub.fault(WEIGHTS, rate=40_000)
    online.env["MAX_DOWNLOAD_TIMEOUT"] = "2"
    error = refused(online, "org/slow")
    assert error["code"] == "download_timeout"
    assert "MAX_DOWNLOAD_TIMEOUT" in error["message"] + error["hint"]
    got = fake_hub.sent(WEIGHTS)
    assert 0 < got < size
    fake_hub.heal()
    fake_hub.forget()
    online.run("start", "slow")
    assert fake_hub.sent(WEIGHTS) < size
    assert online.inspect("slow")["state"] == "RUNNING"


@pytest.mark.promise(12, fault="the supervisor is killed in a download")
def test_the_supervisor_dies_in_a_download_and_the_next_one_finishes_it(
    online: Instance, fake_hub: FakeHub, gpt2: Path
) -> None:
    fake_hub.add("org/m", gpt2)
    slow = fake_hub.fault(WEIGHTS, rate=40_000)
    assert slow.hits == 0
    online.run("deploy", "org/m", "-d")
    eventually(lambda: fake_hub.sent(WEIGHTS) > 20_000)
    os.kill(online.daemon_pid(), signal.SIGKILL)
    fake_hub.heal()
    online.run("wait", "m")
    assert online.inspect("m")["state"] == "RUNNING"


@pytest.mark.promise(5, fault="a deployment is removed in its download")
def test_removing_a_deployment_in_its_download_leaves_no_partial_file(
    online: Instance, fake_hub: FakeHub, gpt2: Path
) -> None:
    fake_hub.add("org/m", gpt2)
    fake_hub.fault(WEIGHTS, rate=20_000)
    online.run("deploy", "org/m", "-d")
    cache = Path(online.env["HF_HOME"]) / "hub"
    eventually(lambda: list(cache.rglob("*.partial")))
    online.run("rm", "-f", "m")
    assert not list(cache.rglob("*.partial"))
    assert online.names() == []


@pytest.mark.promise(22, fault="a private model that needs the token")
def test_the_token_reaches_the_hub_and_nothing_on_disk(
    online: Instance, fake_hub: FakeHub, gpt2: Path
) -> None:
    fake_hub.add("org/private", gpt2, private=True)
    online.env["HF_TOKEN"] = "hf_admitted"
    online.deploy("org/private")
    assert any("hf_admitted" in (r.authorization or "") for r in fake_hub.asked())
    for file in online.home.rglob("*"):
        if file.is_file():
            assert b"hf_admitted" not in file.read_bytes(), file
    assert "hf_admitted" not in online.run("inspect", "private").stdout
