"""Deployments that other machines may reach: only with keys, and in TLS where it is asked for."""

from __future__ import annotations

import http.client
import json
import ssl
from pathlib import Path

import psutil
import pytest

from modeldeploy import apikeys
from tests.certificates import pair
from tests.e2e.instance import Instance, post

pytestmark = pytest.mark.e2e


@pytest.mark.promise(20, fault="a deployment is to bind every address, without a key")
def test_other_machines_are_answered_only_with_a_key(instance: Instance, echo_model: str) -> None:
    key = apikeys.new_key()
    instance.env[apikeys.VARIABLE] = key
    bare = instance.run("deploy", echo_model, "--host", "0.0.0.0", ok=False)
    assert bare.returncode == 2
    assert "needs an API key" in bare.stderr
    assert "no address" in instance.run("deploy", echo_model, "--host", "here", ok=False).stderr
    assert instance.names() == []

    elsewhere = ("--name", "e", "--host", "0.0.0.0", "--api-key", "env")
    done = instance.run("deploy", "--json", echo_model, *elsewhere)
    assert "in the clear" in done.stderr
    port = json.loads(done.stdout)["port"]
    addresses = {"127.0.0.1", *_addresses()}
    for address in addresses:
        url = f"http://{address}:{port}/predict"
        assert post(url, {"text": "x"})[0] == 401
        assert post(url, {"text": "x"}, key=key)[0] == 200
    last = json.loads(instance.run("keys", "ls", "e", "--json").stdout)[0]["id"]
    refused = instance.run("keys", "revoke", "e", last, "--open", ok=False)
    assert refused.returncode == 2
    assert post(f"http://127.0.0.1:{port}/predict", {"text": "x"})[0] == 401


def _addresses() -> set[str]:
    found = {a.address for many in psutil.net_if_addrs().values() for a in many if a.family == 2}
    return found - {"127.0.0.1"}


@pytest.mark.promise(20, fault="a deployment with a certificate is asked in the clear")
def test_tls_on_its_own_port_and_behind_the_front_door(
    instance: Instance, echo_model: str, tmp_path: Path
) -> None:
    instance.env["MODELDEPLOY_GATEWAY"] = "true"
    cert, key = pair(tmp_path)
    files = ("--ssl-certfile", str(cert), "--ssl-keyfile", str(key))
    alone = instance.run("deploy", echo_model, *files[:2], ok=False)
    assert "go together" in alone.stderr
    shown = instance.deploy(echo_model, "--name", "e", *files)
    assert shown["url"] == f"https://127.0.0.1:{shown['port']}"
    trusting = ssl.create_default_context(cafile=str(cert))
    trusting.check_hostname = False
    connection = http.client.HTTPSConnection("127.0.0.1", shown["port"], context=trusting)
    body = json.dumps({"text": "x"})
    for host in ("127.0.0.1", "models.test"):
        headers = {"content-type": "application/json", "host": f"{host}:{shown['port']}"}
        connection.request("POST", "/predict", body, headers)
        response = connection.getresponse()
        assert (response.status, json.loads(response.read())["status"]) == (200, "success")
    connection.close()
    with pytest.raises((http.client.HTTPException, OSError)):
        post(f"http://127.0.0.1:{shown['port']}/predict", {"text": "x"})
    assert "hello" in instance.run("predict", "e", "hello").stdout
    assert post(f"{instance.front}/deployments/e/predict", {"text": "x"})[0] == 200
