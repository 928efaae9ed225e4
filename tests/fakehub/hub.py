"""The Hub as tests hold it: repositories, tokens, faults, and what was asked of it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.fakehub.faults import Fault
from tests.fakehub.repos import Repo, etag_of, read_directory
from tests.fakehub.server import Server


@dataclass
class Request:
    """One request as it arrived; ``sent`` counts bytes of the answer's body."""

    origin: str
    method: str
    path: str
    range: str | None
    authorization: str | None
    status: int = 0
    sent: int = 0


class FakeHub:
    """A Hub on 127.0.0.1, serving from ``with`` to its end.

    ``tokens`` are known; those in ``admitted`` may also see private and gated repositories. With
    ``redirects_lfs`` large files come from another origin, as the Hub's do; with ``without_blobs``
    its infos have no sizes and hashes, as some mirrors' have not.
    """

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.tokens: set[str] = {"hf_known"}
        self.admitted: set[str] = {"hf_admitted"}
        self.redirects_lfs = False
        self.without_blobs = False
        self.requests: list[Request] = []
        self.closing = threading.Event()
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._servers = {origin: Server(self, origin) for origin in ("hub", "cdn")}

    @property
    def endpoint(self) -> str:
        """What HF_ENDPOINT or HubAccess.endpoint is set to."""
        return self._servers["hub"].url

    @property
    def cdn_url(self) -> str:
        return self._servers["cdn"].url

    def add(
        self,
        repo_id: str,
        files: Mapping[str, bytes] | Path,
        *,
        revision: str = "main",
        private: bool = False,
        gated: bool = False,
        pipeline_tag: str | None = None,
    ) -> str:
        """Publish ``files`` (by name, or a directory) as ``revision``; the commit.

        The same files make the same commit, every time.
        """
        repo = self.repos.setdefault(repo_id, Repo(repo_id))
        repo.private, repo.gated, repo.pipeline_tag = private, gated, pipeline_tag
        content = read_directory(files) if isinstance(files, Path) else files
        return repo.commit(content, revision)

    def fault(self, pattern: str, **kind: Any) -> Fault:
        """Have requests for paths like ``pattern`` go wrong (see :class:`Fault`); the last one
        added is asked first."""
        fault = Fault(pattern, **kind)
        with self._lock:
            self._faults.insert(0, fault)
        return fault

    def heal(self) -> None:
        """Nothing goes wrong from now on."""
        with self._lock:
            self._faults.clear()

    def asked(self, pattern: str = "*", method: str | None = None) -> list[Request]:
        """The requests so far for paths like ``pattern``."""
        with self._lock:
            return [
                request
                for request in self.requests
                if fnmatchcase(request.path, pattern) and method in {None, request.method}
            ]

    def sent(self, pattern: str = "*") -> int:
        """Bytes of bodies sent so far for paths like ``pattern``."""
        return sum(request.sent for request in self.asked(pattern))

    def forget(self) -> None:
        """Begin counting anew."""
        with self._lock:
            self.requests.clear()

    def arrived(self, handler: BaseHTTPRequestHandler, path: str) -> tuple[Request, Fault | None]:
        """Note a request; the fault that befalls it, if any."""
        assert isinstance(handler.server, Server)
        request = Request(
            origin=handler.server.origin,
            method=handler.command,
            path=path,
            range=handler.headers.get("Range"),
            authorization=handler.headers.get("Authorization"),
        )
        with self._lock:
            self.requests.append(request)
            fault = next((f for f in self._faults if f.befalls(request.method, path)), None)
        return request, fault

    def by_address(self, etag: str) -> bytes | None:
        """The content that some repository keeps under ``etag``."""
        for repo in self.repos.values():
            for files in repo.commits.values():
                for name, content in files.items():
                    if etag_of(name, content) == etag:
                        return content
        return None

    def __enter__(self) -> FakeHub:
        for server in self._servers.values():
            server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.closing.set()
        for server in self._servers.values():
            server.stop()
