"""A whole modeldeploy of its own for one test: real command line, supervisor and workers."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from modeldeploy.client import Client
from modeldeploy.errors import DaemonUnreachable
from modeldeploy.paths import locate
from modeldeploy.schema.deployment import DeployRequest, HubAccess, Spec

MODELDEPLOY = [sys.executable, "-m", "modeldeploy"]
SECONDS = 120.0
_LOWEST_PORT, _PORTS_EACH = 10_000, 5_000


def free_ports(count: int) -> tuple[int, int]:
    """The first and last of ``count`` neighbouring ports that are free just now: below those that
    the system gives away by itself, and not those of tests that run beside this one."""
    lowest = _LOWEST_PORT + _PORTS_EACH * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    for _ in range(200):
        first = random.randrange(lowest, lowest + _PORTS_EACH - count)
        if all(_is_free(first + n) for n in range(count)):
            return first, first + count - 1
    raise AssertionError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def eventually(what: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """The first true value of ``what``, asked again until then."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s")


class Instance:
    """One home, its environment, and the commands typed in it. It has no front door, unless
    ``MODELDEPLOY_GATEWAY`` says so; then it is on a port above those of its deployments."""

    def __init__(self, home: Path, ports: int = 8, **environment: str) -> None:
        self.home = home
        first, last = free_ports(ports + 1)
        self.ports = (first, last - 1)
        self.gateway_port = last
        self.env = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("MODELDEPLOY", "HF_"))},
            "HOME": str(home.parent),
            "MODELDEPLOY_HOME": str(home),
            "MODELDEPLOY_PORT_RANGE": f"{self.ports[0]}-{self.ports[1]}",
            "MODELDEPLOY_GATEWAY": "false",
            "MODELDEPLOY_GATEWAY_PORT": str(self.gateway_port),
            "HF_HOME": str(home.parent / "hf"),
            "HF_HUB_OFFLINE": "1",
            "NO_COLOR": "1",
            "MODELDEPLOY_WARM_START": "false",  # most of what is tested needs no torch
            **environment,
        }

    @property
    def client(self) -> Client:
        """The control API, without a process for each question; the supervisor must be there."""
        return Client(locate(str(self.home)).control_socket)

    def ask_for(self, model: str, name: str, endpoint: str | None = None) -> None:
        """What ``deploy -d`` does, once the supervisor is there."""
        spec = Spec(model_id=model, cache_dir=str(self.home.parent / "hf" / "hub"))
        hub = HubAccess(endpoint=endpoint, offline=endpoint is None)
        self.client.deploy(DeployRequest(spec=spec, name=name, hub=hub))

    def run(self, *arguments: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*MODELDEPLOY, *arguments],
            env=self.env,
            cwd=self.home.parent,
            text=True,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
        assert not ok or done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"
        return done

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The same, not waited for."""
        return subprocess.Popen(
            [*MODELDEPLOY, *arguments],
            env=self.env,
            cwd=self.home.parent,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def use_hub(self, endpoint: str) -> None:
        """Ask the Hub at ``endpoint`` from now on."""
        self.env["HF_ENDPOINT"] = endpoint
        del self.env["HF_HUB_OFFLINE"]

    def deploy(self, *arguments: str) -> dict[str, Any]:
        shown: dict[str, Any] = json.loads(self.run("deploy", "--json", *arguments).stdout)
        return shown

    def inspect(self, name: str) -> dict[str, Any]:
        shown: dict[str, Any] = json.loads(self.run("inspect", name).stdout)[0]
        return shown

    def names(self) -> list[str]:
        return self.run("ls", "-q").stdout.split()

    @property
    def front(self) -> str:
        """Where its front door is."""
        return f"http://127.0.0.1:{self.gateway_port}"

    def daemon_pid(self) -> int:
        return int(json.loads(self.run("daemon", "status", "--json").stdout)["pid"])

    def close(self) -> None:
        """End everything, by pid, and check that nothing stayed."""
        self.run("daemon", "stop", ok=False)
        left = self.processes()
        for process in left:
            process.send_signal(signal.SIGKILL)
        psutil.wait_procs(left, timeout=10)
        assert not left, f"left running: {[p.info for p in left]}"
        sockets = [p for p in self.home.rglob("*") if p.is_socket()]
        assert not sockets, f"left lying: {sockets}"

    @property
    def is_supervised(self) -> bool:
        """Whether a supervisor answers."""
        try:
            return bool(self.client.status())
        except DaemonUnreachable:
            return False

    def workers(self) -> list[psutil.Process]:
        """Every live worker, known to a supervisor or not."""
        return [one for one in self.processes() if "modeldeploy.worker" in one.info["cmdline"]]

    def supervisors(self) -> list[psutil.Process]:
        """Every live supervisor, whether it answers or not."""
        return [one for one in self.processes() if "modeldeploy.supervisor" in one.info["cmdline"]]

    def processes(self) -> list[psutil.Process]:
        """Every live process that belongs to this home."""
        return [
            process
            for process in psutil.process_iter(["pid", "cmdline", "environ"])
            if (process.info["environ"] or {}).get("MODELDEPLOY_HOME") == str(self.home)
            and process.status() != psutil.STATUS_ZOMBIE
        ]


def post(
    url: str,
    body: Any,
    content_type: str = "application/json",
    timeout: float = 60.0,
    key: str = "",
) -> tuple[int, Any]:
    """The status and the decoded answer of one POST; ``body`` is bytes or becomes JSON."""
    return request("POST", url, body, content_type, timeout, key)


def get(url: str, timeout: float = 60.0) -> tuple[int, Any]:
    return request("GET", url, None, "", timeout)


def request(
    method: str, url: str, body: Any, content_type: str, timeout: float, key: str = ""
) -> tuple[int, Any]:
    host, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=timeout)
    raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    headers = {"content-type": content_type} if content_type else {}
    if key:
        headers["authorization"] = f"Bearer {key}"
    try:
        connection.request(method, f"/{path}", raw, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()
