"""Repositories: revisions, commits named by their content, and addresses as git and LFS make them."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_LFS_SUFFIXES = (".safetensors", ".bin", ".gguf", ".onnx", ".h5", ".msgpack")
_HASHES_KEPT = 32  # and the contents: a Hub knows its own
_LFS_SIZE = 10 * 1024 * 1024


def is_lfs(name: str, content: bytes) -> bool:
    return name.endswith(_LFS_SUFFIXES) or len(content) > _LFS_SIZE


@functools.lru_cache(_HASHES_KEPT)
def blob_id(content: bytes) -> str:
    """git's address: sha1 over a header and the content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def etag_of(name: str, content: bytes) -> str:
    """The ETag that the Hub gives the file: sha256 if it is in LFS, git's address otherwise."""
    return _sha256(content) if is_lfs(name, content) else blob_id(content)


@functools.lru_cache(_HASHES_KEPT)
def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def read_directory(root: Path) -> dict[str, bytes]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


@dataclass
class Repo:
    """One model repository; ``revisions`` maps branches and tags to commits."""

    repo_id: str
    private: bool = False
    gated: bool = False
    pipeline_tag: str | None = None
    revisions: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def commit(self, files: Mapping[str, bytes], revision: str) -> str:
        """Make ``revision`` point at a commit of exactly ``files``; the commit's name."""
        digest = hashlib.sha1(self.repo_id.encode())
        for name in sorted(files):
            digest.update(f"{name}\0{etag_of(name, files[name])}\0".encode())
        sha = digest.hexdigest()
        self.commits[sha] = dict(files)
        self.revisions[revision] = sha
        return sha

    def resolve(self, revision: str) -> str | None:
        """The commit of a branch, a tag, or a commit."""
        return revision if revision in self.commits else self.revisions.get(revision)

    def info(self, commit: str, *, blobs: bool) -> dict[str, Any]:
        """``GET /api/models/{id}`` as the Hub answers it, as far as huggingface_hub reads it."""
        files = self.commits[commit]
        answer: dict[str, Any] = {
            "_id": commit[:24],
            "id": self.repo_id,
            "modelId": self.repo_id,
            "sha": commit,
            "private": self.private,
            "gated": "manual" if self.gated else False,
            "disabled": False,
            "tags": ["transformers"],
            "downloads": 0,
            "likes": 0,
            "library_name": "transformers",
            "siblings": [_sibling(name, files[name], blobs=blobs) for name in sorted(files)],
        }
        if self.pipeline_tag:
            answer["pipeline_tag"] = self.pipeline_tag
        if "config.json" in files:
            answer["config"] = _config_summary(files["config.json"])
        return answer

    def tree(self, commit: str) -> list[dict[str, Any]]:
        """``GET /api/models/{id}/tree/{commit}?recursive=true``."""
        return [_entry(name, content) for name, content in sorted(self.commits[commit].items())]


def _lfs(content: bytes) -> dict[str, Any]:
    return {"oid": _sha256(content), "size": len(content), "pointerSize": 134}


def _entry(name: str, content: bytes) -> dict[str, Any]:
    entry = {"type": "file", "oid": blob_id(content), "size": len(content), "path": name}
    return entry | ({"lfs": _lfs(content)} if is_lfs(name, content) else {})


def _sibling(name: str, content: bytes, *, blobs: bool) -> dict[str, Any]:
    if not blobs:
        return {"rfilename": name}
    sibling: dict[str, Any] = {
        "rfilename": name,
        "size": len(content),
        "blobId": blob_id(content),
    }
    if is_lfs(name, content):
        lfs = _lfs(content)
        sibling["lfs"] = {"sha256": lfs["oid"], "size": lfs["size"], "pointerSize": 134}
    return sibling


def _config_summary(config: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(config)
    except (ValueError, RecursionError):
        return {}
    return {key: fields[key] for key in ("architectures", "model_type") if key in fields}
