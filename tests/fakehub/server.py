"""The HTTP side: one handler for the Hub and for the other origin that serves large files."""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.fakehub.faults import Fault
from tests.fakehub.repos import Repo, etag_of, is_lfs

if TYPE_CHECKING:
    from tests.fakehub.hub import FakeHub, Request

_CHUNK = 16 * 1024
_API = re.compile(r"/api/models/((?:[^/]+/)?[^/]+?)(?:/(revision|tree)/([^/]+))?")
_FILE = re.compile(r"/((?:[^/]+/)?[^/]+)/resolve/([^/]+)/(.+)")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class Server(ThreadingHTTPServer):
    """Knows its connections, so that closing it ends the threads that serve them."""

    daemon_threads = False
    block_on_close = True

    def __init__(self, hub: FakeHub, origin: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.hub = hub
        self.origin = origin
        self._connections: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.shutdown()
        for connection in list(self._connections):
            _hang_up(connection)
        self.server_close()
        self._thread.join()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that leave in the middle are what these tests are about."""


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it is gone already


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server
    request_log: Request
    fault: Fault | None

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 # the base class's name
        """Nothing: the Hub keeps its own log."""

    def do_HEAD(self) -> None:  # the name that http.server calls
        self._handle()

    def do_GET(self) -> None:  # the name that http.server calls
        self._handle()

    # Routing

    def _handle(self) -> None:
        hub = self.server.hub
        path = unquote(urlsplit(self.path).path)
        self.request_log, self.fault = hub.arrived(self, path)
        if self.fault and self.fault.silent:
            self._hang()
        elif self.fault and self.fault.raw is not None:
            self.wfile.write(self.fault.raw)
            self.close_connection = True
        elif self.fault and self.fault.redirect:
            self._fail(302, headers={"Location": self.fault.redirect})
        elif self.fault and self.fault.status:
            self._fail(self.fault.status, headers=self.fault.headers, body=self.fault.body)
        elif self.server.origin == "cdn":
            self._cdn(path)
        else:
            self._hub(urlsplit(self.path).path)

    def _hub(self, path: str) -> None:
        api, file = _API.fullmatch(path), _FILE.fullmatch(path)
        if api:
            self._api(unquote(api[1]), api[2], unquote(api[3] or "main"))
        elif file and not path.startswith("/api/"):
            self._resolve(unquote(file[1]), unquote(file[2]), unquote(file[3]))
        else:
            self._fail(404)

    def _api(self, repo_id: str, what: str | None, revision: str) -> None:
        found = self._find(repo_id, revision)
        if found is None:
            return
        repo, commit = found
        query = parse_qs(urlsplit(self.path).query)
        if what == "tree":
            self._json(repo.tree(commit))
        else:
            blobs = "blobs" in query and not self.server.hub.without_blobs
            self._json(self._lied(repo.info(commit, blobs=blobs)))

    def _lied(self, info: dict[str, Any]) -> dict[str, Any]:
        lie = self.fault.lie if self.fault else 0
        for sibling in info["siblings"]:
            for told in (sibling, sibling.get("lfs", {})):
                if "size" in told:
                    told["size"] = max(0, told["size"] + lie)
        return info

    def _resolve(self, repo_id: str, revision: str, name: str) -> None:
        found = self._find(repo_id, revision)
        if found is None:
            return
        repo, commit = found
        if repo.gated and self._token() not in self.server.hub.admitted:
            self._fail(403 if self._token() else 401, "GatedRepo", f"{repo_id} is gated.")
            return
        content = repo.commits[commit].get(name)
        if content is None:
            self._fail(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit})
            return
        self._send_file(name, content, commit)

    def _cdn(self, path: str) -> None:
        content = self.server.hub.by_address(path.removeprefix("/cdn/"))
        if content is None:
            self._fail(404)
        else:
            self._body(content, {})

    # Who may see what, as the Hub says it

    def _token(self) -> str | None:
        header = self.headers.get("Authorization", "")
        return header.removeprefix("Bearer ") if header.startswith("Bearer ") else None

    def _find(self, repo_id: str, revision: str) -> tuple[Repo, str] | None:
        hub, token = self.server.hub, self._token()
        if token is not None and token not in hub.tokens | hub.admitted:
            self._fail(401, message="Invalid credentials in Authorization header")
            return None
        repo = hub.repos.get(repo_id)
        if repo is None or (repo.private and token not in hub.admitted):
            self._fail(404 if token else 401, "RepoNotFound", "Repository not found")
            return None
        commit = repo.resolve(revision)
        if commit is None:
            self._fail(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return repo, commit

    # Answers

    def _json(self, answer: Any) -> None:
        self._body(json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _fail(
        self,
        status: int,
        code: str | None = None,
        message: str | None = None,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
    ) -> None:
        all_headers = dict(headers or {})
        if code:
            all_headers["X-Error-Code"] = code
        if message:
            all_headers["X-Error-Message"] = message
            body = json.dumps({"error": message}).encode()
        self._start(status, all_headers, len(body))
        if self.command != "HEAD":
            self._write(body)

    def _send_file(self, name: str, content: bytes, commit: str) -> None:
        etag = etag_of(name, content)
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes", "ETag": f'"{etag}"'}
        if is_lfs(name, content):
            headers |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(content))}
            if self.server.hub.redirects_lfs:
                headers["Location"] = f"{self.server.hub.cdn_url}/cdn/{etag}?Signature=s3cr3t"
                self._start(302, headers, 0)
                return
        self._body(content, headers)

    def _body(self, content: bytes, headers: dict[str, str]) -> None:
        if self.fault and self.fault.flip is not None:
            at = self.fault.flip
            content = content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]
        start, status = 0, 200
        wanted = _RANGE.fullmatch(self.headers.get("Range", ""))
        if wanted and not (self.fault and self.fault.ignore_range):
            start, status = int(wanted[1]), 206
            if start >= len(content):
                self._fail(416, headers={"Content-Range": f"bytes */{len(content)}"})
                return
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        lie = self.fault.lie if self.fault else 0
        self._start(status, headers, max(0, len(content) - start + lie))
        if self.command != "HEAD":
            self._send(content[start:])

    def _start(self, status: int, headers: dict[str, str], length: int) -> None:
        self.request_log.status = status
        self.send_response(status, HTTPStatus(status).phrase)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _send(self, body: bytes) -> None:
        fault = self.fault
        cut = fault.cut if fault else None
        if fault and fault.rate:
            self._trickle(body, fault.rate)
        elif cut is None or cut >= len(body):
            self._write(body)
        else:
            self._write(body[:cut])
            self._break(fault)

    def _write(self, body: bytes) -> None:
        for start in range(0, len(body), _CHUNK):
            part = body[start : start + _CHUNK]
            self.wfile.write(part)
            self.request_log.sent += len(part)

    def _trickle(self, body: bytes, rate: float) -> None:
        step = max(1, int(rate / 50))
        for start in range(0, len(body), step):
            self._write(body[start : start + step])
            if self.server.hub.closing.wait(step / rate):
                return

    def _break(self, fault: Fault | None) -> None:
        self.close_connection = True
        if fault and fault.stall is not None:
            self._hang()
        elif fault and fault.reset is not None:
            # A moment for the client to read what was sent: a reset discards what it has not.
            time.sleep(0.1)
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()

    def _hang(self) -> None:
        self.close_connection = True
        self.server.hub.closing.wait()
