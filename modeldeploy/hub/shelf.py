"""The files of one commit in the cache: which are there and intact, and how the others come."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from modeldeploy.hub import untrusted
from modeldeploy.hub.layout import RepoCache
from modeldeploy.hub.listing import Listing, RepoFile
from modeldeploy.hub.meter import Meter
from modeldeploy.hub.record import Record
from modeldeploy.hub.verify import is_intact

_log = logging.getLogger(__name__)
_Hashed = Callable[[int, int], None]


@dataclass(frozen=True)
class Shelf:
    """``listing`` says what belongs here, ``record`` what was verified before."""

    cache: RepoCache
    listing: Listing
    record: Record
    meter: Meter

    def missing(self, names: Iterable[str], on_hashed: _Hashed) -> dict[str, RepoFile]:
        """Those of ``names`` that must be downloaded, one name for each content.

        What is cached is hashed once and remembered; ``on_hashed(done, total)`` tells the bytes.
        A damaged blob is set aside, and is removed when a good one has taken its place.
        """
        files = {self.listing.files[name].etag: name for name in names}
        wanted = {name: self.listing.files[name] for name in files.values()}
        there = {name: file for name, file in wanted.items() if self._is_there(file)}
        unknown = {n: f for n, f in there.items() if not self.record.knows(f.etag, self._blob(f))}
        damaged = self._damaged(unknown, on_hashed)
        for name, file in there.items():
            if name not in damaged:
                self.meter.present(file.etag, file.size)
        missing = {n: f for n, f in wanted.items() if n not in there or n in damaged}
        for file in missing.values():
            self.meter.present(file.etag, self._begun(file))
        return missing

    def accept(self, files: Iterable[RepoFile]) -> None:
        """Remember that these were just downloaded and verified."""
        for file in files:
            self.record.mark(file.etag, self._blob(file))

    def show(self, names: Iterable[str]) -> Path:
        """Link ``names`` into the snapshot; its directory."""
        for name in names:
            self.cache.link(self.listing.commit, name, self.listing.files[name].etag)
        return self.cache.snapshot(self.listing.commit)

    def read(self, name: str) -> bytes:
        return untrusted.content(self._blob(self.listing.files[name]))

    def bytes_to_come(self, files: Iterable[RepoFile]) -> int:
        """Bytes that ``files`` still need on the disk, beside what is begun."""
        return sum(file.size - self._begun(file) for file in files)

    def _blob(self, file: RepoFile) -> Path:
        return self.cache.blob(file.etag)

    def _is_there(self, file: RepoFile) -> bool:
        return self._blob(file).is_file()

    def _begun(self, file: RepoFile) -> int:
        """Bytes that an earlier fetch left; more than the file has are none of it."""
        partial = self.cache.partial(file.etag)
        size = partial.stat().st_size if partial.is_file() else 0
        return size if size <= file.size else 0

    def _damaged(self, files: dict[str, RepoFile], on_hashed: _Hashed) -> set[str]:
        total = sum(file.size for file in files.values())
        hashed = 0

        def count(size: int) -> None:
            nonlocal hashed
            hashed += size
            on_hashed(hashed, total)

        damaged = set()
        for name, file in files.items():
            blob = self._blob(file)
            if is_intact(blob, file, count):
                self.record.mark(file.etag, blob)
            else:
                _log.warning("the cached %s is damaged: it is set aside and fetched again", name)
                blob.replace(self.cache.damaged(file.etag))
                damaged.add(name)
        return damaged
