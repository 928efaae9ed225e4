"""One blob: from a partial file, whoever began it, to a verified one under its final name."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
from pathlib import Path
from types import TracebackType

from modeldeploy.errors import CorruptDownload
from modeldeploy.hub.client import HubClient, Stopped
from modeldeploy.hub.hf import httpx
from modeldeploy.hub.layout import RepoCache
from modeldeploy.hub.limits import Limits
from modeldeploy.hub.listing import RepoFile
from modeldeploy.hub.meter import Meter
from modeldeploy.hub.verify import CHUNK, Hasher

_log = logging.getLogger(__name__)
_TRIES = 2  # a wrong checksum may be a partial file that rotted or one bad transfer; not twice
_RANGE = re.compile(r"bytes (\d+)-")


class Partial:
    """A file that is being filled, with its running hash. Every byte written is in the kernel at
    once: killed at any instruction, the next process finds it and goes on."""

    def __init__(self, path: Path, file: RepoFile, stop: threading.Event) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._file = file
        self._stream = path.open("ab", buffering=0)
        self._hasher = Hasher(file)
        self.size = 0
        self._catch_up(stop)

    def _catch_up(self, stop: threading.Event) -> None:
        """Hash what an earlier process has left."""
        with self._path.open("rb") as earlier:
            while chunk := earlier.read(CHUNK):
                if stop.is_set():
                    raise Stopped
                self._hasher.update(chunk)
                self.size += len(chunk)
        if self.size > self._file.size:
            self.restart()

    def write(self, data: bytes) -> None:
        """Append ``data``; a raw write may take less than all of it, as on a filling disk."""
        left = memoryview(data)
        while left:
            written = self._stream.write(left)
            self._hasher.update(left[:written])
            self.size += written
            left = left[written:]

    def restart(self) -> None:
        self._stream.truncate(0)
        self._hasher = Hasher(self._file)
        self.size = 0

    @property
    def is_intact(self) -> bool:
        return self.size == self._file.size and self._hasher.matches()

    def publish(self, blob: Path) -> None:
        """Move it under its final name; a power cut leaves the whole file there or none."""
        os.fsync(self._stream.fileno())
        self._path.replace(blob)
        with contextlib.suppress(OSError):  # not every file system syncs directories
            directory = os.open(blob.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)

    def discard(self) -> None:
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> Partial:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stream.close()


class Transfer:
    """Brings blobs of one commit into the cache."""

    def __init__(
        self,
        client: HubClient,
        cache: RepoCache,
        commit: str,
        meter: Meter,
        limits: Limits,
        stop: threading.Event,
    ) -> None:
        self._client = client
        self._cache = cache
        self._commit = commit
        self._meter = meter
        self._limits = limits
        self._stop = stop

    def stop(self) -> None:
        """Have every thread that works on it end at its next byte."""
        self._stop.set()

    def bring(self, name: str, file: RepoFile) -> None:
        """Have ``blobs/<etag>`` complete and verified.

        Raises:
            CorruptDownload: what the Hub sends is not what it lists, twice.
            DownloadError: it cannot be had; OSError: it cannot be written.
        """
        with Partial(self._cache.partial(file.etag), file, self._stop) as part:
            for _ in range(_TRIES):
                self._meter.present(file.etag, part.size)
                self._fill(name, file, part)
                if part.is_intact:
                    part.publish(self._cache.blob(file.etag))
                    self._cache.damaged(file.etag).unlink(missing_ok=True)
                    return
                _log.warning("%s does not have the checksum that the Hub lists", name)
                part.restart()
            part.discard()
        raise CorruptDownload(
            f"{name} arrived damaged {_TRIES} times: its checksum is not the one that the Hub lists",
            hint="check for a proxy that changes downloads; then `modeldeploy start NAME` tries again",
        )

    def _fill(self, name: str, file: RepoFile, part: Partial) -> None:
        """Receive what is missing, over as many connections as that takes."""
        failures = 0
        while part.size < file.size:
            before = part.size
            try:
                self._receive(name, file, part)
            except httpx.HTTPError as error:
                failures = 1 if part.size > before else failures + 1
                if failures >= self._limits.attempts or not self._client.may_pass(error):
                    raise self._client.error(error) from error
                self._client.rest(failures, error)

    def _receive(self, name: str, file: RepoFile, part: Partial) -> None:
        """One connection's worth; bytes beyond the listed size end it."""
        with self._client.stream(self._commit, name, part.size) as answer:
            _agree_on_start(part, answer)
            for chunk in answer.iter_bytes():
                if self._stop.is_set():
                    raise Stopped
                self._meter.received(len(chunk))
                part.write(chunk)
                if part.size > file.size:
                    return
                self._meter.present(file.etag, part.size)
        if part.size < file.size:
            raise httpx.RemoteProtocolError("the body ended before the file did")


def _agree_on_start(part: Partial, answer: httpx.Response) -> None:
    """Begin anew where the answer does not go on at the byte that was asked for."""
    if part.size == 0 or _start(answer) == part.size:
        return
    part.restart()
    if answer.status_code == 206:
        raise httpx.RemoteProtocolError("another range than the one that was asked for")


def _start(answer: httpx.Response) -> int:
    """The first byte it carries: a server may ignore ``Range``, and encoded bytes do not count."""
    if (
        answer.status_code != 206
        or answer.headers.get("Content-Encoding", "identity") != "identity"
    ):
        return 0
    found = _RANGE.match(answer.headers.get("Content-Range", ""))
    return int(found.group(1)) if found else 0
