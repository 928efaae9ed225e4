"""Repositories that are broken or malicious, deployed as anybody's would be, from the warm template;
beside them another deployment answers."""

from __future__ import annotations

import io
import json
import os
import pickle
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import safetensors.torch
import torch

from tests.e2e.instance import Instance, eventually, post
from tests.fakehub import FakeHub
from tests.faults.load import Load
from tests.models import tiny

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Instance, FakeHub, Path]]:
    """A supervisor with a warm template, a Hub, a whole model; and a deployment that is asked all
    the time, which nothing may disturb."""
    model = tiny.classifier(tmp_path_factory.mktemp("model") / "m")
    echo = tmp_path_factory.mktemp("echo")
    (echo / "config.json").write_text('{"model_type": "echo", "architectures": ["Echo"]}')
    with tempfile.TemporaryDirectory(prefix="md-") as folder, FakeHub() as hub:
        one = Instance(Path(folder) / "home", HF_TOKEN="hf_verysecret")
        one.use_hub(hub.endpoint)
        one.env["MODELDEPLOY_WARM_START"] = "true"
        hub.tokens.add("hf_verysecret")
        try:
            one.run("daemon", "start")
            one.ask_for(str(echo), "bystander")
            with Load(str(one.client.wait("bystander").url), clients=1, pause=0.05) as load:
                yield one, hub, model
                load.goes_on()
            load.assert_all_answered()
        finally:
            one.close()


class Bomb:
    """Unpickled, it leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._trace,)


def changed(files: dict[str, bytes], **config: Any) -> dict[str, bytes]:
    return {
        **files,
        "config.json": json.dumps({**json.loads(files["config.json"]), **config}).encode(),
    }


def with_code(files: dict[str, bytes], trace: Path) -> dict[str, bytes]:
    code = f"from pathlib import Path\nPath({str(trace)!r}).touch()\nclass C: pass\n".encode()
    auto_map = {"AutoConfig": "evil.C", "AutoModelForSequenceClassification": "evil.C"}
    return {
        **changed(files, model_type="evil", auto_map=auto_map, trust_remote_code=True),
        "evil.py": code,
    }


def with_pickle(files: dict[str, bytes], trace: Path) -> dict[str, bytes]:
    rest = {name: content for name, content in files.items() if name != "model.safetensors"}
    return {**rest, "pytorch_model.bin": pickle.dumps(Bomb(trace))}


def with_both(files: dict[str, bytes], trace: Path) -> dict[str, bytes]:
    """Weights that are no safetensors, beside a pickle that would do."""
    return {
        **files,
        "model.safetensors": b"\xff" * 64,
        "pytorch_model.bin": pickle.dumps(Bomb(trace)),
    }


def with_kernels(files: dict[str, bytes], trace: Path) -> dict[str, bytes]:
    return changed(files, _attn_implementation="evil/kernels")


def with_tokenizer_code(files: dict[str, bytes], trace: Path) -> dict[str, bytes]:
    code = f"from pathlib import Path\nPath({str(trace)!r}).touch()\nclass T: pass\n".encode()
    tokenizer = json.dumps(
        {"auto_map": {"AutoTokenizer": ["evil.T", None]}, "tokenizer_class": "T"}
    )
    rest = {name: content for name, content in files.items() if name != "tokenizer.json"}
    return {**rest, "tokenizer_config.json": tokenizer.encode(), "evil.py": code}


@pytest.mark.promise(14, fault="repositories whose code or pickle leaves a trace when it is run")
@pytest.mark.parametrize(
    ("spoil", "codes"),
    [
        (with_code, {"remote_code_refused"}),
        (with_pickle, {"unsafe_weights"}),
        (with_both, {"model_error", "unsafe_weights"}),
        (with_kernels, {"remote_code_refused"}),
        (with_tokenizer_code, {"remote_code_refused", "model_error"}),
    ],
)
def test_a_malicious_repository_runs_nothing(
    world: tuple[Instance, FakeHub, Path],
    spoil: Callable[[dict[str, bytes], Path], dict[str, bytes]],
    codes: set[str],
    tmp_path: Path,
) -> None:
    instance, hub, model = world
    trace = tmp_path / "trace"
    name = spoil.__name__.replace("_", "-")
    hub.add(f"evil/{name}", spoil({f.name: f.read_bytes() for f in model.iterdir()}, trace))
    done = instance.run("deploy", f"evil/{name}", "--json", ok=False)
    error = json.loads(done.stdout)["error"]
    assert done.returncode == 3
    assert error["code"] in codes, error
    assert "\n" not in error["message"]
    assert error["hint"]
    assert not trace.exists(), "foreign code has run"
    instance.run("rm", "-f", name)


@pytest.mark.promise(
    14, fault="the same pickle is asked for with the opt-in and, cached, without it"
)
def test_an_opt_in_is_one_deployments_own_and_on_record(
    world: tuple[Instance, FakeHub, Path],
) -> None:
    instance, hub, model = world
    files = {f.name: f.read_bytes() for f in model.iterdir()}
    pickled = io.BytesIO()
    torch.save(safetensors.torch.load(files.pop("model.safetensors")), pickled)
    hub.add("org/pickled", {**files, "pytorch_model.bin": pickled.getvalue()})
    url = instance.deploy("org/pickled", "--allow-pickle", "--name", "pickled")["url"]
    os.kill(instance.daemon_pid(), signal.SIGKILL)
    instance.run("daemon", "start")
    chosen = {
        name: [instance.inspect(name)["spec"][key] for key in ("allow_pickle", "trust_remote_code")]
        for name in ("pickled", "bystander")
    }
    assert chosen == {"pickled": [True, False], "bystander": [False, False]}
    assert post(f"{url}/predict", {"text": "x"})[0] == 200
    refused = instance.run("deploy", "org/pickled", "--name", "other", "--json", ok=False)
    assert json.loads(refused.stdout)["error"]["code"] == "unsafe_weights"
    instance.run("rm", "-f", "pickled", "other")


@pytest.mark.promise(
    14, fault="a repository's own code, with the opt-in: what is refused without it"
)
def test_with_the_opt_in_its_code_runs_and_that_is_shown(
    world: tuple[Instance, FakeHub, Path], tmp_path: Path
) -> None:
    instance, hub, model = world
    trace = tmp_path / "trace"
    hub.add("evil/trusted", with_code({f.name: f.read_bytes() for f in model.iterdir()}, trace))
    instance.run("deploy", "evil/trusted", "--trust-remote-code", "--name", "trusted", ok=False)
    assert trace.exists(), "the traces of the other tests would show nothing"
    assert instance.inspect("trusted")["spec"]["trust_remote_code"] is True
    instance.run("rm", "-f", "trusted")


@pytest.mark.promise(15, fault="repositories without config, tokenizer, header; of an unknown kind")
@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("config.json", b"[" * 50_000, "config.json"),
        ("config.json", b'{"x": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "config.json"),
        ("config.json", b'{"architectures": ["' + b"A" * 2_000_000 + b'"]}', "config.json"),
        ("config.json", b'{"model_type": "' + b"a" * 2_000_000 + b'"}', "config.json"),
        ("config.json", b'{"model_type": "zork", "architectures": ["Zork"]}', "Zork"),
        ("model.safetensors", b"\x08\x00\x00\x00\x00\x00\x00\x7f{}", "weights file is damaged"),
        ("tokenizer.json", b'{"model": {}}', "tokenizer"),
    ],
)
def test_a_broken_repository_fails_alone(
    world: tuple[Instance, FakeHub, Path], name: str, content: bytes, says: str
) -> None:
    instance, hub, model = world
    hub.add("org/broken", {**{f.name: f.read_bytes() for f in model.iterdir()}, name: content})
    done = instance.run("deploy", "org/broken", "--json", ok=False)
    error = json.loads(done.stdout)["error"]
    assert done.returncode == 3
    assert says in error["message"], error
    assert "\n" not in error["message"]
    assert "Traceback" not in done.stdout + done.stderr
    assert instance.client.deployment("broken").state.value == "FAILED"
    eventually(lambda: not instance.client.deployment("broken").replicas)
    instance.run("rm", "-f", "broken")


@pytest.mark.promise(16, fault="a model of the Hub, deployed with a token")
@pytest.mark.promise(22, fault="a model of the Hub, deployed with a token")
def test_a_worker_has_neither_the_token_nor_a_way_to_the_hub(
    world: tuple[Instance, FakeHub, Path],
) -> None:
    instance, hub, model = world
    hub.add("org/fine", model)
    shown = instance.deploy("org/fine")
    assert any("hf_verysecret" in (request.authorization or "") for request in hub.asked())
    asked = len(hub.asked())
    worker = psutil.Process(shown["replicas"][0]["pid"])
    environment = worker.environ()
    assert environment["HF_HUB_OFFLINE"] == "1"
    assert "hf_verysecret" not in str(environment)
    everything = Path(f"/proc/{worker.pid}/cmdline").read_bytes()
    assert b"hf_verysecret" not in everything
    remote = [
        c for c in worker.net_connections(kind="inet") if c.raddr and c.laddr.port != shown["port"]
    ]
    assert not remote
    assert len(hub.asked()) == asked
    instance.run("rm", "-f", "fine")
