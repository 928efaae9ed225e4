"""A real worker process for one test, and a client for it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from modeldeploy.engines.environment import worker_environment
from modeldeploy.schema.worker import WorkerReport
from modeldeploy.transport import UnixConnection
from tests.worker.specs import worker_spec

SECONDS = 60.0


@dataclass
class Answer:
    status: int
    body: Any
    headers: dict[str, str]

    @property
    def code(self) -> str:
        return str(self.body["error"]["code"])


class LiveWorker:
    """Spawned as the engine does it: the listening socket inherited, the log on fds 1 and 2."""

    def __init__(self, folder: Path, task: str, snapshot: Path, **changes: Any) -> None:
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(128)
        self.port = int(self.listener.getsockname()[1])
        paths = {
            "socket": str(folder / "w.sock"),
            "handover": str(folder / "w.port"),
            "log_file": str(folder / "w.log"),
        }
        self.spec = worker_spec(snapshot, task, self.port, **paths, **changes)
        file = folder / "spec.json"
        file.write_bytes(msgspec.json.encode(self.spec))
        log = os.open(self.spec.log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        env = worker_environment(os.environ, self.spec.threads)
        env["MODELDEPLOY_LISTEN_FD"] = str(self.listener.fileno())
        self.process = subprocess.Popen(
            [sys.executable, "-m", "modeldeploy.worker", str(file)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=env,
            pass_fds=[self.listener.fileno()],
            start_new_session=True,
        )
        os.close(log)

    def close(self) -> None:
        self.listener.close()
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(SECONDS)

    def log(self) -> str:
        return Path(self.spec.log_file).read_text()

    def insider(self, method: str, path: str, body: Any = None) -> Answer:
        return _ask(UnixConnection(self.spec.socket, SECONDS), method, path, body, {})

    def report(self) -> WorkerReport | None:
        """What it says of itself, or None while its socket is not there yet."""
        try:
            return msgspec.convert(self.insider("GET", "/status").body, WorkerReport)
        except (OSError, http.client.HTTPException):
            return None

    def until(self, phase: str) -> WorkerReport:
        def there() -> WorkerReport | None:
            report = self.report()
            return report if report and report.phase == phase else None

        reached: WorkerReport = eventually(there, self.log)
        return reached

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | str | dict[str, Any] | None = None,
        **headers: str,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if isinstance(body, dict):
            body = json.dumps(body)
        if body is not None:
            named.setdefault("content-type", "application/json")
        return _ask(connection, method, path, body, named)

    def predict(self, **body: Any) -> Answer:
        return self.ask("POST", "/predict", body)


def _ask(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: Any,
    headers: dict[str, str],
) -> Answer:
    with contextlib.closing(connection):
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        raw = response.read()
    given = {name.lower(): value for name, value in response.getheaders()}
    is_json = given.get("content-type", "") == "application/json"
    return Answer(response.status, json.loads(raw) if is_json else raw.decode(), given)


def eventually(what: Callable[[], Any], why: Callable[[], str] = str) -> Any:
    """The first true value of ``what``."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {SECONDS} s: {why()}")


@contextlib.contextmanager
def live_worker(folder: Path, task: str, snapshot: Path, **changes: Any) -> Iterator[LiveWorker]:
    worker = LiveWorker(folder, task, snapshot, **changes)
    try:
        yield worker
    finally:
        worker.close()
