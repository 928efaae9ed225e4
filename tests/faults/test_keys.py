"""API keys of a whole instance: where they are not, and what of them survives."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import urllib.request
from pathlib import Path

import psutil
import pytest

from modeldeploy import apikeys
from tests.e2e.instance import Instance, eventually, post

pytestmark = pytest.mark.e2e

KEY = apikeys.new_key()


def ask(url: str, key: str) -> int:
    return post(f"{url}/predict", {"text": "x"}, key=key)[0]


def told(url: str, page: str) -> str:
    asked = urllib.request.Request(f"{url}{page}", headers={"x-api-key": KEY})  # http
    with urllib.request.urlopen(asked, timeout=30) as answer:  # as above
        said: bytes = answer.read()
    return said.decode()


def has_secret(instance: Instance, secret: str) -> list[str]:
    """Where it is: files of the home, and arguments of processes."""
    raw = secret.encode()
    files = [p for p in instance.home.rglob("*") if p.is_file() and raw in p.read_bytes()]
    processes = [p for p in instance.processes() if secret in " ".join(p.info["cmdline"])]
    return [*map(str, files), *(str(p.pid) for p in processes)]


@pytest.mark.promise(22, fault="deployments with API keys, given and made, looked for everywhere")
@pytest.mark.promise(22, fault="figures and documents of a deployment with API keys")
@pytest.mark.promise(20, fault="a key is revoked after the supervisor was killed")
def test_keys_are_nowhere_and_are_revoked_while_it_runs(
    instance: Instance, echo_model: str
) -> None:
    file = instance.home.parent / "key"
    file.write_text(f"{KEY}\n")
    url = instance.deploy(echo_model, "--name", "e", "--api-key", str(file))["url"]
    made = json.loads(instance.run("keys", "add", "e", "--label", "ann", "--json").stdout)
    assert [ask(url, key) for key in (KEY, made["key"], "none")] == [200, 200, 401]
    instance.env[apikeys.VARIABLE] = KEY
    assert instance.run("predict", "e", "hello").stdout

    worker = instance.inspect("e")["replicas"][0]["pid"]
    os.kill(instance.daemon_pid(), signal.SIGKILL)
    assert ask(url, made["key"]) == 200
    revoked = instance.run("keys", "revoke", "e", made["id"])
    assert "Warning" not in revoked.stderr
    assert [ask(url, key) for key in (KEY, made["key"])] == [200, 401]
    assert instance.inspect("e")["replicas"][0]["pid"] == worker

    os.kill(worker, signal.SIGKILL)
    eventually(lambda: instance.inspect("e")["restarts"] and instance.inspect("e")["ready_at"])
    assert [ask(url, key) for key in (KEY, made["key"], "none")] == [200, 401, 401]
    last = json.loads(instance.run("keys", "ls", "e", "--json").stdout)[0]["id"]
    assert "last key" in instance.run("keys", "revoke", "e", last, ok=False).stderr
    assert ask(url, "none") == 401

    pages = [told(url, page) for page in ("/metrics", "/info", "/openapi.json", "/health", "/docs")]
    assert "modeldeploy_" in pages[0]
    for secret in (KEY, made["key"]):
        assert not any(secret in page or apikeys.digest_of(secret) in page for page in pages)
        assert not has_secret(instance, secret)
        assert secret not in json.dumps(instance.inspect("e"))
    assert apikeys.VARIABLE not in psutil.Process(instance.workers()[0].pid).environ()
    instance.run("keys", "revoke", "e", last, "--open")
    assert ask(url, "none") == 200


@pytest.mark.promise(22, fault="a key where a source of keys is wanted")
def test_a_key_in_an_argument_is_refused_and_not_repeated(
    instance: Instance, tmp_path: Path, echo_model: str
) -> None:
    refused = instance.run("deploy", echo_model, "--api-key", KEY, ok=False)
    assert refused.returncode == 2
    assert KEY not in refused.stdout + refused.stderr


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is pasted")
def test_the_line_to_paste_sends_the_key_where_nobody_sees_it(
    instance: Instance, echo_model: str
) -> None:
    instance.env[apikeys.VARIABLE] = KEY
    shown = instance.run("deploy", echo_model, "--name", "e", "--api-key", "env").stdout
    line = next(one for one in shown.splitlines() if one.startswith("curl "))
    assert KEY not in line
    answered = subprocess.run(
        ["bash", "-c", f"{line} -s"], env=instance.env, capture_output=True, text=True, check=True
    )
    assert json.loads(answered.stdout)["status"] == "success"
