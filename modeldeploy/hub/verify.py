"""Content checked against its address: sha256 for LFS files, git's blob sha1 for the others."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from modeldeploy.hub.listing import RepoFile

CHUNK = 1024 * 1024


class Hasher:
    """The running hash of a file that should turn out to be ``file.etag``."""

    def __init__(self, file: RepoFile) -> None:
        self._expected = file.etag
        if len(file.etag) == 64:
            self._hash = hashlib.sha256()
        else:  # git's address of a blob: sha1 over "blob <size>\0" and the content
            self._hash = hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)

    def update(self, data: bytes | memoryview) -> None:
        self._hash.update(data)

    def matches(self) -> bool:
        return self._hash.hexdigest() == self._expected


def is_intact(path: Path, file: RepoFile, on_bytes: Callable[[int], None]) -> bool:
    """Whether ``path`` holds exactly the content of ``file``; ``on_bytes`` hears of each chunk."""
    if path.stat().st_size != file.size:
        return False
    hasher = Hasher(file)
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            hasher.update(chunk)
            on_bytes(len(chunk))
    return hasher.matches()
