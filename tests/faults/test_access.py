"""Another user of this machine, and what listens where."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from modeldeploy.errors import DaemonUnreachable
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


LISTEN = """
import os, socket, sys
os.umask(0)
os.setgid({uid}); os.setuid({uid})
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen()
print("listening", flush=True)
s.settimeout(60)
peer, _ = s.accept()
print("heard", peer.recv(1000), flush=True)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.promise(22, fault="another user listens where the control socket belongs")
@pytest.mark.promise(20, fault="another user listens where the control socket belongs")
def test_nothing_is_told_to_another_user_who_listens_in_our_place(instance: Instance) -> None:
    run = instance.home / "run"
    run.mkdir(parents=True)
    for folder in (instance.home.parent, instance.home, run):
        folder.chmod(0o777)
    command = [sys.executable, "-c", LISTEN.format(uid=NOBODY), str(run / "control.sock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as stranger:
        assert stranger.stdout
        try:
            assert stranger.stdout.readline() == "listening\n"
            instance.env["HF_TOKEN"] = "hf_secret"
            with pytest.raises(DaemonUnreachable, match="another user"):
                instance.client.status()
            assert stranger.stdout.readline() == "heard b''\n"
        finally:
            stranger.kill()
    (run / "control.sock").unlink()


@pytest.mark.promise(24, fault="the umask is 0, and no directory of ours or above is there")
def test_every_directory_that_is_made_is_private(instance: Instance) -> None:
    user, env = instance.home.parent / "user", instance.env
    user.mkdir(mode=0o700)
    kept = {k: v for k, v in env.items() if k != "MODELDEPLOY_HOME" and not k.startswith("XDG_")}
    before = os.umask(0)
    instance.env = {**kept, "HOME": str(user)}
    try:
        instance.run("daemon", "start")
        state = user / ".local" / "state" / "modeldeploy"
        assert state.is_dir()
        assert not lax(user)
        for folder in (state, state / "run", state / "state"):
            folder.chmod(0o777)
        instance.run("daemon", "restart")
        assert not lax(user), "what others could enter since is not put right"
    finally:
        os.umask(before)
        instance.run("daemon", "stop")
        instance.env = env


def lax(folder: Path) -> list[Path]:
    """What others may do something with."""
    return [path for path in folder.rglob("*") if stat.S_IMODE(path.lstat().st_mode) & 0o077]


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
