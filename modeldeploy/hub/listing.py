"""The files of one commit, as the Hub or a cached snapshot lists them."""

from __future__ import annotations

import re

from msgspec import Struct

_ETAG = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class RepoFile(Struct, frozen=True):
    """``etag`` is the content's address: sha256 (64 hex) for LFS files, git's blob sha1 (40 hex)
    for the others. It is the name of the blob in the cache."""

    size: int
    etag: str


class Listing(Struct, frozen=True, kw_only=True):
    """Every file of a commit that may be fetched, and what the Hub says the model is for."""

    commit: str
    files: dict[str, RepoFile]
    pipeline_tag: str | None = None

    def size_of(self, names: list[str]) -> int:
        """Bytes of ``names``, files of equal content counted once as the cache keeps them once."""
        return sum({self.files[name].etag: self.files[name].size for name in names}.values())


def is_etag(text: str) -> bool:
    """Whether ``text`` can be checked against content, and is safe as a file name."""
    return _ETAG.fullmatch(text) is not None
