"""Another user of this machine, and what listens where."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from modeldeploy.transport import UnixConnection
from tests.e2e.instance import Instance

pytestmark = pytest.mark.e2e

NOBODY = 65534
ASK = """
import os, socket, sys
os.setgid({uid}); os.setuid({uid})
s = socket.socket(socket.AF_UNIX)
s.settimeout(10)
try:
    s.connect(sys.argv[1])
    s.sendall(b"GET /v1/status HTTP/1.1\\r\\nhost: x\\r\\n\\r\\nGET /status HTTP/1.1\\r\\nhost: x\\r\\n\\r\\n")
    print("said", s.recv(1000))
except OSError as error:
    print("refused", error)
"""


def as_nobody(path: Path) -> str:
    command = [sys.executable, "-c", ASK.format(uid=NOBODY), str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.promise(20, fault="another user asks the sockets, then with their modes thrown open")
def test_another_user_has_no_say(instance: Instance, echo_model: str) -> None:
    instance.deploy(echo_model, "--name", "e")
    sockets = sorted(path for path in (instance.home / "run").iterdir() if path.is_socket())
    assert len(sockets) == 3, "the supervisor's, a worker's, and where that gives its port away"
    for path in sockets:
        assert as_nobody(path).startswith("refused"), path
    for folder in (instance.home.parent, instance.home, instance.home / "run"):
        folder.chmod(0o755)
    for path in sockets:
        path.chmod(0o777)
        said = as_nobody(path)
        assert said.startswith("refused") or said.strip() == "said b''", (path, said)
    for path in sockets:
        path.chmod(0o600)
    assert instance.inspect("e")["state"] == "RUNNING"


@pytest.mark.promise(20, fault="a look at everything that listens")
def test_nothing_listens_but_on_the_loopback(instance: Instance, echo_model: str) -> None:
    port = instance.deploy(echo_model, "--name", "e")["port"]
    listening = [
        (connection.laddr.ip, connection.laddr.port)
        for process in instance.processes()
        for connection in psutil.Process(process.pid).net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert set(listening) == {("127.0.0.1", port)}
    own = {addr.address for many in psutil.net_if_addrs().values() for addr in many}
    for address in own - {"127.0.0.1"}:
        with socket.socket() as probe:
            probe.settimeout(5)
            with pytest.raises(OSError):  # noqa: PT011 - whichever way it is refused
                probe.connect((address, port))


@pytest.mark.promise(20, fault="nonsense on the control socket")
@pytest.mark.promise(6, fault="nonsense on the control socket")
def test_nonsense_on_the_control_socket_is_refused_and_changes_nothing(instance: Instance) -> None:
    instance.run("daemon", "start")
    path = str(instance.home / "run" / "control.sock")
    for method, target, body in (
        ("POST", "/v1/deployments", b"\xff\xfe"),
        ("POST", "/v1/deployments", b"[" * 100_000),
        ("POST", "/v1/deployments", b'{"spec": {"model_id": "a", "cache_dir": "/", "x": 1}}'),
        ("POST", "/v1/deployments", b"x" * (2 << 20)),
        ("POST", "/v1/deployments/..%2f..%2fx/start", b"{}"),
        ("DELETE", "/v1/deployments/" + "a" * 5000, b""),
        ("GET", "/v1/deployments/e/logs?tail=" + "9" * 5000, b""),
        ("POST", "/v1/shutdown", b'{"workers": "burn"}'),
        ("BREW", "/v1/status", b""),
    ):
        connection = UnixConnection(path, 20)
        connection.request(method, target, body, {"content-type": "application/json"})
        status = connection.getresponse().status
        connection.close()
        assert 400 <= status < 500, (method, target[:60], status)
    assert instance.names() == []
