"""A control API that replays canned events, on a Unix socket. Nothing behind it is real.

``python -m tests.cli.fake_supervisor HOME [SECONDS]`` serves one for looking at the rendering:
each deploy takes SECONDS.
"""

from __future__ import annotations

import http.server
import socketserver
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
from msgspec.structs import replace

from modeldeploy import __version__, paths
from modeldeploy.errors import DeploymentNotFound, InvalidRequest, ModelDeployError, NameTaken
from modeldeploy.schema.control import DaemonStatus, GatewayStatus, LogLine, ShutdownRequest
from modeldeploy.schema.deployment import Deployment, DeployRequest, StartRequest
from modeldeploy.schema.events import Event
from modeldeploy.schema.states import Desired, State
from tests.cli.stories import NO_MEMORY, deployment, story


class FakeSupervisor:
    """Serves at the home's control socket while it is open; keeps what it was asked in ``asked``."""

    def __init__(self, home: Path, seconds: float = 0.0) -> None:
        self.where = paths.locate(str(home)).make()
        self.seconds = seconds
        self.version = __version__
        self.pid = 2**22 + 1  # no such process
        self.deployments: dict[str, Deployment] = {}
        self.story = story()
        self.lines = [LogLine(time=1_700_000_000.0 + n, text=f"line {n}") for n in range(5)]
        self.hangs = False
        self.gateway = GatewayStatus(url="http://127.0.0.1:8000")
        self.asked: list[tuple[str, str, Any]] = []
        self.where.control_socket.unlink(missing_ok=True)
        self._server = _Server(str(self.where.control_socket), self)

    def __enter__(self) -> FakeSupervisor:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.where.control_socket.unlink(missing_ok=True)

    def one(self, name: str) -> Deployment:
        if name not in self.deployments:
            raise DeploymentNotFound(
                f"there is no deployment named {name!r}", hint="modeldeploy ls shows what there is"
            )
        return self.deployments[name]

    def change(self, name: str, **changes: Any) -> Deployment:
        self.deployments[name] = replace(self.one(name), **changes)
        return self.deployments[name]

    def deploy(self, request: DeployRequest) -> Deployment:
        name = request.name or request.spec.model_id.rpartition("/")[2]
        if name in self.deployments:
            raise NameTaken(f"there is a deployment named {name!r}", hint="choose another --name")
        made = deployment(
            name, request.spec.model_id, spec=request.spec, state=State.PENDING, ready_at=None
        )
        self.deployments[name] = made
        return made

    def finish(self, name: str, event: Event) -> None:
        if event.state in {State.RUNNING, State.FAILED}:
            ready = time.time() if event.state is State.RUNNING else None
            self.change(name, state=event.state, error=event.error, ready_at=ready)

    def logs(self, query: dict[str, str]) -> Iterator[LogLine]:
        tail, since = query.get("tail"), float(query.get("since", 0))
        lines = [line for line in self.lines if line.time >= since]
        if after := query.get("after"):
            lines = lines[[line.position for line in lines].index(after) + 1 :]
        return iter(lines[len(lines) - int(tail) :] if tail else lines)

    def events(self, name: str, query: dict[str, str]) -> Iterator[Event]:
        after = int(query.get("after", 0))
        shown = self.one(name)
        if shown.desired is Desired.STOPPED:
            self.change(name, state=State.STOPPED, ready_at=None)
            return
        began = time.time()
        for told in self.story:
            time.sleep(self.seconds / len(self.story))
            event = replace(told, time=time.time() if self.seconds else told.time)
            if event.seq > after:
                yield event
            self.finish(name, event)
        while self.hangs and time.time() < began + 60:
            time.sleep(0.02)


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: str, fake: FakeSupervisor) -> None:
        self.fake = fake
        super().__init__(address, _Handler)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def address_string(self) -> str:
        return "local"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name upstream
        pass

    def _handle(self) -> None:
        self.close_connection = True
        length = int(self.headers.get("content-length") or 0)
        raw = self.rfile.read(length)
        split = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(split.query).items()}
        fake = self.server.fake
        fake.asked.append((self.command, self.path, msgspec.json.decode(raw or b"null")))
        try:
            self._route(split.path.split("/")[2:], query, raw)
        except ModelDeployError as error:
            self._answer(error.status, error.problem())
        except msgspec.ValidationError as error:
            self._answer(422, InvalidRequest(str(error)).problem())

    do_GET = do_POST = do_DELETE = _handle  # noqa: N815 - http.server's names

    def _route(self, parts: list[str], query: dict[str, str], raw: bytes) -> None:
        fake, command = self.server.fake, self.command
        match [command, *parts]:
            case ["GET", "status"]:
                self._answer(200, self._status())
            case ["POST", "shutdown"]:
                msgspec.json.decode(raw, type=ShutdownRequest)
                self._answer(202, self._status())
            case ["GET", "deployments"]:
                self._answer(200, list(fake.deployments.values()))
            case ["POST", "deployments"]:
                self._answer(201, fake.deploy(msgspec.json.decode(raw, type=DeployRequest)))
            case ["GET", "deployments", name]:
                self._answer(200, fake.one(name))
            case ["DELETE", "deployments", name]:
                self._answer(202, fake.one(name))
                del fake.deployments[name]
            case ["POST", "deployments", name, "stop"]:
                self._answer(202, fake.change(name, desired=Desired.STOPPED))
            case ["POST", "deployments", name, "start" | "restart"]:
                msgspec.json.decode(raw, type=StartRequest)
                fake.change(name, desired=Desired.RUNNING, state=State.PENDING, error=None)
                self._answer(202, fake.one(name))
            case ["GET", "deployments", name, what]:
                fake.one(name)
                self._stream(fake.events(name, query) if what == "events" else fake.logs(query))

    def _status(self) -> DaemonStatus:
        fake = self.server.fake
        return DaemonStatus(
            pid=fake.pid,
            version=fake.version,
            started_at=time.time() - 100,
            home=str(fake.where.home),
            socket=str(fake.where.control_socket),
            deployments=len(fake.deployments),
            running=sum(one.state is State.RUNNING for one in fake.deployments.values()),
            ports="8100-8200",
            gateway=fake.gateway,
        )

    def _answer(self, status: int, value: Any) -> None:
        raw = msgspec.json.encode(value)
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def _stream(self, items: Iterator[Any]) -> None:
        self.send_response(200)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        try:
            for item in items:
                line = msgspec.json.encode(item) + b"\n"
                self.wfile.write(b"%x\r\n%b\r\n" % (len(line), line))
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
        except BrokenPipeError:
            self.close_connection = True  # whoever listened has left


def main() -> None:
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 10.0
    with FakeSupervisor(Path(sys.argv[1]), seconds) as fake:
        fake.deployments["sentiment"] = deployment(
            "sentiment", "builtin/sentiment", task="text-classification"
        )
        fake.deployments["llama"] = deployment(
            "llama",
            "meta-llama/Llama-3.2-1B-Instruct",
            state=State.FAILED,
            error=NO_MEMORY,
            ready_at=None,
            memory_bytes=0,
            replicas=[],
        )
        if "--fail" in sys.argv:
            fake.story = story(NO_MEMORY)
        threading.Event().wait()


if __name__ == "__main__":
    main()
