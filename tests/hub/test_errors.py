"""Every reason why the Hub gives nothing has a message of its own that says what to do."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modeldeploy.hub.errors import Asked, from_os, translate
from modeldeploy.hub.hf import httpx
from tests.fakehub import FakeHub
from tests.hub.conftest import config, files, noise
from tests.hub.fetcher import Fetcher


def arrange(hub: FakeHub, fetcher: Fetcher, case: str) -> str:
    """Make ``case`` happen; the model id to ask for."""
    hub.add("org/model", files())
    hub.add("org/private", files(), private=True)
    hub.add("org/gated", files(), gated=True)
    if case == "bad token":
        fetcher.token = "hf_expired"
    if case == "gated with token":
        fetcher.token = "hf_known"
    if case == "rate limited":
        hub.fault("/api/*", status=429)
    if case == "server error":
        hub.fault("/api/*", status=500)
    if case == "no network":
        fetcher.endpoint = "http://127.0.0.1:9"
    if case == "hung":
        hub.fault("/api/*", silent=True)
        fetcher.limits = replace(fetcher.limits, hub_timeout=0.3)
    if case == "forbidden":
        hub.fault("/api/*", status=403)
    if case == "unknown revision":
        return "org/model@nope"
    return {
        "unknown": "org/unknown",
        "private": "org/private",
        "gated": "org/gated",
        "gated with token": "org/gated",
    }.get(case, "org/model")


CASES = {
    "unknown": ("model_not_found", "spelling"),
    "unknown revision": ("revision_not_found", "branches"),
    "private": ("model_not_found", "private"),
    "gated": ("gated_model", "HF_TOKEN"),
    "gated with token": ("gated_model", "ask for access"),
    "bad token": ("hub_unauthorized", "hf auth login"),
    "forbidden": ("hub_unauthorized", "token"),
    "rate limited": ("hub_rate_limited", "wait"),
    "server error": ("hub_unavailable", "later"),
    "hung": ("hub_unavailable", "later"),
    "no network": ("no_network", "network"),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.promise(13, fault="each refusal of the Hub")
def test_each_cause_is_named(fake_hub: FakeHub, fetcher: Fetcher, case: str) -> None:
    outcome = fetcher.run(arrange(fake_hub, fetcher, case))
    code, word = CASES[case]
    assert outcome.problem.code == code
    assert word in outcome.problem.hint
    assert "http://127.0.0.1" not in outcome.problem.message
    assert "Traceback" not in outcome.stderr
    assert not list(fetcher.cache.glob("models--*/snapshots/*/*"))


@pytest.mark.parametrize("status", [401, 403])
def test_a_gated_model_is_known_by_its_info_too(
    fake_hub: FakeHub, fetcher: Fetcher, status: int
) -> None:
    fake_hub.add("org/gated", files(), gated=True)
    fake_hub.fault("*/resolve/*", status=status)
    assert fetcher.problem("org/gated").code == "gated_model"


@pytest.mark.promise(13, fault="each refusal of the Hub, compared")
def test_the_messages_all_differ() -> None:
    statuses = (401, 403, 404, 418, 429, 503)
    asked = Asked("org/model", "main", "https://huggingface.co", has_token=True)
    messages = {translate(_http_error(status), asked).message for status in statuses}
    anonymous = Asked("org/model", "main", "https://huggingface.co", has_token=False)
    messages |= {translate(_http_error(401), anonymous).message}
    assert len(messages) == len(statuses) + 1


def _http_error(status: int) -> Exception:
    from huggingface_hub.errors import HfHubHTTPError

    request = httpx.Request("GET", "https://huggingface.co/api/models/org/model")
    return HfHubHTTPError("x", response=httpx.Response(status, request=request))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (httpx.ProxyError("407"), "proxy"),
        (httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] x"), "certificate"),
        (httpx.ConnectTimeout("x"), "cannot be reached"),
        (httpx.ReadTimeout("x"), "said nothing"),
        (httpx.RemoteProtocolError("x"), "broke off"),
    ],
)
def test_what_breaks_below_http(error: Exception, words: str) -> None:
    asked = Asked("org/model", "main", "https://huggingface.co", has_token=False)
    assert words in translate(error, asked).message


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.ENOSPC, "disk_full"), (errno.EDQUOT, "disk_full"), (errno.EACCES, "download_failed")],
)
def test_what_the_disk_says(tmp_path: Path, number: int, code: str) -> None:
    error = OSError(number, "no", str(tmp_path / "x"))
    assert from_os(error, tmp_path / "cache").code == code


@pytest.mark.parametrize(
    "endpoint", ["nonsense", "ftp://127.0.0.1", "http://[::1", "http://", "http://h:x"]
)
def test_an_endpoint_that_is_none(fetcher: Fetcher, endpoint: str) -> None:
    fetcher.endpoint = endpoint
    problem = fetcher.problem("org/model")
    assert problem.code == "invalid_setting"
    assert "HF_ENDPOINT" in problem.hint


UNSERVED: dict[str, tuple[dict[str, bytes], str]] = {
    "bin only": ({"config.json": config(), "pytorch_model.bin": noise(100)}, "pickle"),
    "bin shards": ({"config.json": config(), "pytorch_model.bin.index.json": b"{}"}, "pickle"),
    "no config": ({"model.safetensors": noise(100)}, "config.json"),
    "gguf": ({"config.json": config(), "model-Q4.gguf": noise(100)}, "GGUF"),
    "gguf without config": ({"model-Q4.gguf": noise(100)}, "GGUF"),
    "onnx": ({"config.json": config(), "onnx/model.onnx": noise(100)}, "ONNX"),
    "tensorflow": ({"config.json": config(), "tf_model.h5": noise(100)}, "TensorFlow"),
    "adapter": ({"adapter_config.json": b"{}", "adapter_model.safetensors": noise(9)}, "adapter"),
    "diffusers": ({"model_index.json": b"{}"}, "diffusers"),
    "no weights": ({"config.json": config()}, "no weights"),
    "variant": ({"config.json": config(), "model.fp16.safetensors": noise(9)}, "named"),
    "config is huge": ({"config.json": b" " * (2**26 + 1)}, "67,108,865 bytes"),
    "config is a list": (files({"config.json": b"[]"}), "config.json"),
}


@pytest.mark.parametrize("case", UNSERVED)
@pytest.mark.promise(
    15, fault="repositories that lack config, tokenizer, weights or a known architecture"
)
def test_what_cannot_be_served_is_said_before_any_weights_come(
    fake_hub: FakeHub, fetcher: Fetcher, case: str
) -> None:
    content, word = UNSERVED[case]
    fake_hub.add("org/model", content)
    problem = fetcher.problem("org/model")
    assert problem.code == ("unsafe_weights" if "bin" in case else "unsupported_model")
    assert word in problem.message
    assert problem.hint
    configs = (content.get(name, b"") for name in ("config.json", "adapter_config.json"))
    assert fake_hub.sent("*/resolve/*") <= sum(map(len, configs))


@pytest.mark.promise(14, fault="a repository that has only pickled weights")
def test_pickle_comes_only_with_the_opt_in(fake_hub: FakeHub, fetcher: Fetcher) -> None:
    fake_hub.add("org/model", {"config.json": config(), "pytorch_model.bin": noise(100)})
    problem = fetcher.problem("org/model")
    assert "--allow-pickle" in problem.hint
    model = fetcher.model("org/model", allow_pickle=True)
    assert (Path(model.snapshot) / "pytorch_model.bin").stat().st_size == 100
    again: dict[str, Any] = {"revision": model.commit}
    assert fetcher.problem("org/model", **again).code == "unsafe_weights"
