"""The front door of a real supervisor over real workers."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest
import tritonclient.http as triton
from huggingface_hub import InferenceClient
from prometheus_client.parser import text_string_to_metric_families
from safetensors.torch import load_file, save_file

from tests.clients.test_triton_client import tensor, wanted
from tests.e2e.instance import Instance, eventually, get, post, request
from tests.faults.load import Load
from tests.models import tiny

pytestmark = pytest.mark.e2e


@pytest.fixture
def fronted() -> Iterator[Instance]:
    """A fresh home with a front door."""
    with tempfile.TemporaryDirectory(prefix="md-") as folder:
        one = Instance(Path(folder) / "home", MODELDEPLOY_GATEWAY="true")
        try:
            yield one
        finally:
            one.close()


def gateways(instance: Instance) -> list[psutil.Process]:
    return [p for p in instance.processes() if "modeldeploy.gateway" in (p.info["cmdline"] or [])]


def status(instance: Instance) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(instance.run("daemon", "status", "--json").stdout)["gateway"]
    return found


def text_of(url: str) -> str:
    host, _, path = url.removeprefix("http://").partition("/")
    with contextlib.closing(http.client.HTTPConnection(host, timeout=60)) as connection:
        connection.request("GET", f"/{path}")
        return connection.getresponse().read().decode()


def test_one_port_for_all_deployments(fronted: Instance, echo_model: str) -> None:
    front = fronted.front
    fronted.deploy("builtin/sentiment", "--name", "s")
    fronted.deploy(echo_model, "--name", "e")
    _, answer = post(f"{front}/deployments/s/predict", {"text": "I love it"})
    assert answer["result"][0]["label"] == "POSITIVE"
    _, answer = post(f"{front}/deployments/e/predict", {"text": "so"})
    assert (answer["deployment_id"], answer["result"]) == ("e", [{"text": "so"}])
    assert [one["id"] for one in get(f"{front}/v1/models")[1]["data"]] == ["s", "e"]
    assert get(f"{front}/health")[1] == {
        "status": "healthy",
        "supervisor": "connected",
        "deployments": 2,
        "running": 2,
    }
    _every_example_works(fronted)
    _public_clients_get_through(fronted)
    page = text_of(f"{front}/metrics")
    for name in ("s", "e"):
        assert re.search(
            rf'modeldeploy_requests_total{{deployment="{name}",status="200"}} \d', page
        )
    fronted.run("stop", "s")
    assert eventually(lambda: "STOPPED" in _refusal(fronted, 503)["message"])
    fronted.run("rm", "s")
    assert eventually(lambda: _refusal(fronted, 404)["hint"] == "deployments: e")
    paths = get(f"{front}/openapi.json")[1]["paths"]
    assert not [path for path in paths if path.startswith("/deployments/s/")]


def _refusal(instance: Instance, status: int) -> dict[str, Any]:
    """Of ``s``, once it is answered with ``status``."""
    found, answer = post(f"{instance.front}/deployments/s/predict", {"text": "x"})
    error: dict[str, Any] = answer["error"]
    return error if found == status else {"message": "", "hint": ""}


def _public_clients_get_through(instance: Instance) -> None:
    hub = InferenceClient(model=f"{instance.front}/deployments/s")
    assert hub.text_classification("I love it")[0].label == "POSITIVE"
    with triton.InferenceServerClient(instance.front.removeprefix("http://")) as client:
        assert client.is_server_ready()
        assert client.is_model_ready("s")
        given = tensor("text", ["I love it", "I hate it"], binary=True)
        labels = client.infer("s", [given], outputs=wanted(True, "label")).as_numpy("label")
        assert [row[0] for row in labels] == [b"POSITIVE", b"NEGATIVE"]


def _every_example_works(instance: Instance) -> None:
    """What Swagger UI sends when nothing is changed: each operation answers with 200."""
    tried = set()
    for path, item in get(f"{instance.front}/openapi.json")[1]["paths"].items():
        for method, operation in item.items():
            content = operation.get("requestBody", {}).get("content", {})
            if content and "example" not in content.get("application/json", {}):
                continue
            body = content and content["application/json"]["example"]
            if path.endswith(("/docs", "/metrics")):  # pages that are not JSON
                assert text_of(instance.front + path)
                continue
            raw = json.dumps(body) if body else None
            kind = "application/json" if body else ""
            found, answer = request(
                method.upper(), instance.front + path, raw and raw.encode(), kind, 60
            )
            assert found == 200, (path, answer)
            tried.add(operation["tags"][0])
    assert {"s", "e"} <= tried


@pytest.mark.promise(2, fault="the gateway is killed")
def test_a_gateway_that_is_killed_comes_back_on_its_port_and_nobody_is_refused(
    fronted: Instance, echo_model: str
) -> None:
    direct = fronted.deploy(echo_model, "--name", "e")["url"]
    (old,) = gateways(fronted)
    for _ in range(2):
        (before,) = gateways(fronted)
        before.send_signal(signal.SIGKILL)
        found, answer = post(f"{fronted.front}/deployments/e/predict", {"text": "after"})
        assert (found, answer["result"]) == (200, [{"text": "after"}])
    after = status(fronted)
    assert (after["url"], after["restarts"]) == (fronted.front, 2)
    assert after["pid"] != old.pid
    assert post(f"{direct}/predict", {"text": "x"})[0] == 200


@pytest.mark.promise(5, fault="a deployment is restarted while it is asked at the front door")
def test_a_restart_is_waited_for(fronted: Instance, echo_model: str) -> None:
    fronted.deploy(echo_model, "--name", "e")
    with Load(f"{fronted.front}/deployments/e", delay=0.02) as load:
        for _ in range(3):
            load.goes_on()
            fronted.run("restart", "e")
        load.goes_on()
    load.assert_all_answered()


@pytest.mark.promise(4, fault="the gateway is stopped (SIGSTOP)")
def test_a_stopped_gateway_is_found_and_replaced_and_newcomers_wait(
    fronted: Instance, echo_model: str
) -> None:
    fronted.env["MODELDEPLOY_HEARTBEAT_TIMEOUT"] = "2"
    fronted.deploy(echo_model, "--name", "e")
    (old,) = gateways(fronted)
    old.send_signal(signal.SIGSTOP)
    eventually(lambda: not old.is_running() or old.status() == psutil.STATUS_ZOMBIE)
    found, answer = post(f"{fronted.front}/deployments/e/predict", {"text": "after"})
    assert (found, answer["result"]) == (200, [{"text": "after"}])
    after = status(fronted)
    assert (after["url"], after["restarts"]) == (fronted.front, 1)


@pytest.mark.parametrize("how", ["killed", "restarted"])
@pytest.mark.promise(1, fault="the supervisor is killed while the front door is asked")
def test_another_supervisor_comes_and_the_door_stays_open(
    how: str, fronted: Instance, echo_model: str
) -> None:
    fronted.deploy(echo_model, "--name", "e")
    url = f"{fronted.front}/deployments/e/predict"
    (old,) = gateways(fronted)
    fates: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            fates.append(post(url, {"text": "x"})[0])

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        if how == "killed":
            os.kill(fronted.daemon_pid(), signal.SIGKILL)
            eventually(lambda: get(f"{fronted.front}/health")[1]["supervisor"] == "unreachable")
            assert fronted.names() == ["e"]  # starts the next one
        else:
            fronted.run("daemon", "restart")
        eventually(lambda: not old.is_running() or old.status() == psutil.STATUS_ZOMBIE)
        eventually(lambda: get(f"{fronted.front}/health")[1]["supervisor"] == "connected")
        seen = len(fates)
        eventually(lambda: len(fates) > seen + 20)
    finally:
        stop.set()
        asking.join()
    assert set(fates) == {200}
    (new,) = gateways(fronted)
    assert (status(fronted)["url"], status(fronted)["pid"]) == (fronted.front, new.pid)
    assert new.pid != old.pid


@pytest.mark.promise(1, fault="the daemon is restarted with a long request at the front door")
def test_a_restart_waits_for_what_runs_and_cuts_no_connection_that_is_kept(echo_model: str) -> None:
    with tempfile.TemporaryDirectory(prefix="md-") as folder:
        one = Instance(
            Path(folder) / "home", MODELDEPLOY_GATEWAY="true", MODELDEPLOY_DRAIN_TIMEOUT="1"
        )
        try:
            one.deploy(echo_model, "--name", "e")
            _restart_under_load(one)
        finally:
            one.close()


def _restart_under_load(one: Instance) -> None:
    url = f"{one.front}/deployments/e/predict"
    (old,) = gateways(one)
    long: list[int] = []
    fates: list[int] = []
    stop = threading.Event()

    def ask_for_long() -> None:  # longer than the time to drain, and than what is waited past it
        long.append(post(url, {"text": "x", "delay": 8})[0])

    def ask_on_one_connection() -> None:
        kept = http.client.HTTPConnection("127.0.0.1", one.gateway_port, timeout=60)
        with contextlib.closing(kept):
            while not stop.is_set():
                kept.request("GET", "/deployments/e/health")
                with kept.getresponse() as answer:
                    answer.read()
                    fates.append(answer.status)

    asking = [threading.Thread(target=ask_for_long)]
    asking += [threading.Thread(target=ask_on_one_connection) for _ in range(4)]
    for each in asking:
        each.start()
    try:
        eventually(
            lambda: 'modeldeploy_in_flight{deployment="e"} 1.0' in text_of(one.front + "/metrics")
        )
        one.run("daemon", "restart")
        eventually(lambda: len(gateways(one)) == 2)
        asking[0].join()
        eventually(lambda: not old.is_running() or old.status() == psutil.STATUS_ZOMBIE)
        seen = len(fates)
        eventually(lambda: len(fates) > seen + 20)
    finally:
        stop.set()
        for each in asking:
            each.join()
    assert long == [200]
    assert set(fates) == {200}


@pytest.mark.promise(4, fault="the gateway is stopped (SIGSTOP)")
def test_a_gateway_that_hangs_when_the_next_supervisor_comes_is_replaced(fronted: Instance) -> None:
    fronted.run("daemon", "start")
    (old,) = eventually(lambda: gateways(fronted))
    eventually(lambda: get(f"{fronted.front}/health")[0] == 200)
    os.kill(fronted.daemon_pid(), signal.SIGKILL)
    old.send_signal(signal.SIGSTOP)
    fronted.run("daemon", "start")
    eventually(lambda: status(fronted)["pid"] not in {None, old.pid})
    assert get(f"{fronted.front}/health")[0] == 200  # what was sent to the hung one has been reset
    (new,) = gateways(fronted)
    assert new.pid != old.pid


@pytest.mark.promise(8, fault="a stranger listens on the port of the front door")
def test_a_taken_port_is_left_to_who_has_it(fronted: Instance) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", fronted.gateway_port))
        stranger.listen()
        fronted.run("daemon", "start")
        found = status(fronted)
        assert found["url"] != fronted.front
        assert f"port {fronted.gateway_port} is taken" in found["notice"]
        assert get(f"{found['url']}/health")[0] == 200
        assert found["notice"] in fronted.run("daemon", "status").stdout
    log = (fronted.home / "logs" / "supervisor.log").read_text()
    assert found["notice"] in log


def test_it_is_never_in_the_way_of_a_deployments_port(fronted: Instance, echo_model: str) -> None:
    port = fronted.gateway_port
    refused = fronted.run("deploy", echo_model, "--port", str(port), "--json", ok=False)
    assert f"port {port} is the gateway's" in refused.stdout
    fronted.run("daemon", "stop")
    fronted.run("daemon", "start", "--no-gateway")
    fronted.deploy(echo_model, "--name", "e", "--port", str(port))
    fronted.run("stop", "e")
    fronted.run("daemon", "restart")
    assert status(fronted)["url"] not in {None, fronted.front}, "e would like to have it again"
    fronted.run("start", "e")
    assert post(f"{fronted.front}/predict", {"text": "x"})[0] == 200


def test_it_ends_with_the_supervisor_and_is_not_there_where_it_is_not_wanted(
    fronted: Instance,
) -> None:
    fronted.run("daemon", "start")
    (one,) = eventually(lambda: gateways(fronted))
    fronted.run("daemon", "stop")
    assert not one.is_running()
    with pytest.raises(ConnectionRefusedError):
        get(f"{fronted.front}/health")
    fronted.run("daemon", "start", "--no-gateway")
    assert status(fronted) == {"url": None, "notice": "", "pid": None, "restarts": 0}
    assert not gateways(fronted)
    with pytest.raises(ConnectionRefusedError):
        get(f"{fronted.front}/health")


def test_the_control_api_through_the_door(fronted: Instance, echo_model: str) -> None:
    fronted.deploy(echo_model, "--name", "e")
    file = fronted.home / "state" / "api-token"
    assert file.stat().st_mode & 0o777 == 0o600
    url = f"{fronted.front}/api/v1/deployments"
    assert get(url)[0] == 401
    connection = http.client.HTTPConnection("127.0.0.1", fronted.gateway_port, timeout=60)
    with contextlib.closing(connection):
        bearer = {"authorization": f"Bearer {file.read_text().strip()}"}
        connection.request("GET", "/api/v1/deployments", headers=bearer)
        shown = json.loads(connection.getresponse().read())
        connection.request("POST", "/api/v1/deployments/e/stop", headers=bearer)
        assert connection.getresponse().read()
    assert [one["name"] for one in shown] == ["e"]
    assert eventually(lambda: fronted.inspect("e")["state"] == "STOPPED")


def test_the_openai_client_streams_through_the_door_and_leaves(
    fronted: Instance, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        fronted.deploy(str(tiny.chat(tmp_path / name)), "--name", name)
    client = openai.OpenAI(base_url=f"{fronted.front}/v1", api_key="none", max_retries=0)
    assert [one.id for one in client.models.list()] == ["one", "two"]
    say: Any = [{"role": "user", "content": "hello"}]
    for name in ("one", "two"):
        whole = client.chat.completions.create(model=name, messages=say, max_tokens=8, seed=1)
        assert whole.model == name
        pieces = client.chat.completions.create(
            model=name, messages=say, max_tokens=8, seed=1, stream=True
        )
        text = "".join(one.choices[0].delta.content or "" for one in pieces)
        assert text == whole.choices[0].message.content
    with pytest.raises(openai.NotFoundError, match="one, two"):
        client.chat.completions.create(model="three", messages=say)
    long = client.chat.completions.create(model="one", messages=say, max_tokens=200, stream=True)
    next(iter(long))
    long.close()
    busy = 'modeldeploy_in_flight{deployment="one"} 0.0'
    assert eventually(lambda: busy in text_of(f"{fronted.front}/metrics"))


def figures(front: str, deployment: str) -> dict[str, float]:
    """Of one deployment: each sample by its name and what else its labels say."""
    page = text_of(f"{front}/metrics")
    families = text_string_to_metric_families(page)
    return {
        " ".join(
            [one.name, *(v for k, v in sorted(one.labels.items()) if k != "deployment")]
        ): one.value
        for family in families
        for one in family.samples
        if one.labels.get("deployment") == deployment
    }


def test_everything_that_happened_is_on_one_page_of_figures(
    fronted: Instance, tmp_path: Path
) -> None:
    """Each figure that is promised for ``/metrics``, after real traffic at both ports."""
    model = tiny.chat(tmp_path / "w")
    weights = load_file(model / "model.safetensors")
    weights["transformer.wpe.weight"][-8:] = float("nan")  # it fails that far into a text
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    direct = fronted.deploy(str(model), "--name", "w")["url"]
    through = f"{fronted.front}/deployments/w"
    before = figures(fronted.front, "w")
    for base in (direct, through):
        asked = {"text": "hello", "max_new_tokens": 8, "seed": 1}
        assert post(f"{base}/predict", asked)[0] == 200
        assert post(f"{base}/predict", {"text": 1})[0] == 422
        assert len(events(f"{base}/predict", {**asked, "stream": True})) == 8
    *_, last = events(f"{through}/predict", {"text": "a" * 240, "stream": True})
    code = last["error"]["code"]
    seen = figures(fronted.front, "w")

    def more(name: str) -> float:
        return seen[name] - before.get(name, 0)

    assert more("modeldeploy_requests_total 200") == 5
    assert more("modeldeploy_requests_total 422") == 2
    assert more("modeldeploy_errors_total invalid_request") == 2
    assert more(f"modeldeploy_errors_total {code}") == 1, "told inside a stream"
    for part in ("validation", "request"):
        assert more(f"modeldeploy_{part}_seconds_count") == 7
    for part in ("queue", "inference"):
        assert more(f"modeldeploy_{part}_seconds_count") >= 4
        assert more(f"modeldeploy_{part}_seconds_sum") > 0
    assert more("modeldeploy_batch_items_count") > 0
    assert more("modeldeploy_tokens_total input") > 4 * 5
    assert more("modeldeploy_tokens_total output") >= 4 * 8
    assert more("modeldeploy_time_to_first_token_seconds_count") == 3
    assert more("modeldeploy_inter_token_seconds_count") >= 2 * 7
    assert seen["modeldeploy_load_seconds"] > 0
    assert seen["modeldeploy_memory_bytes"] > 10_000_000
    assert seen["modeldeploy_restarts_total"] == 0
    assert more("modeldeploy_gateway_requests_total deployments 200") == 3
    assert more("modeldeploy_gateway_requests_total deployments 422") == 1
    assert more("modeldeploy_gateway_upstream_seconds_count") == 4

    os.kill(fronted.inspect("w")["replicas"][0]["pid"], signal.SIGKILL)
    eventually(lambda: figures(fronted.front, "w").get("modeldeploy_restarts_total") == 1)
    assert eventually(lambda: figures(fronted.front, "w").get("modeldeploy_state RUNNING") == 1)


def events(url: str, body: Any) -> list[Any]:
    """What was streamed, decoded."""
    host, _, path = url.removeprefix("http://").partition("/")
    with contextlib.closing(http.client.HTTPConnection(host, timeout=60)) as connection:
        headers = {"content-type": "application/json"}
        connection.request("POST", f"/{path}", json.dumps(body), headers)
        lines = connection.getresponse().read().splitlines()
    return [json.loads(line[5:]) for line in lines if line.startswith(b"data:")]
