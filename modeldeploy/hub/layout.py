"""Where things lie in a cache of the Hub's standard layout.

``models--org--name/{blobs,refs,snapshots/<commit>}`` as huggingface_hub writes it
(https://huggingface.co/docs/huggingface_hub/guides/manage-cache), so that the user's other tools
share it; beside it ours: ``blobs/<etag>.partial`` and the record.
"""

from __future__ import annotations

import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from modeldeploy.hub.listing import Listing, RepoFile, is_etag
from modeldeploy.modelids import is_commit, is_safe_name


@dataclass(frozen=True)
class RepoCache:
    """One model's part of the cache under ``root``. Reading an attribute touches nothing."""

    root: Path
    repo_id: str

    @property
    def folder_name(self) -> str:
        return "--".join(["models", *self.repo_id.split("/")])

    @property
    def folder(self) -> Path:
        return self.root / self.folder_name

    @property
    def record(self) -> Path:
        return self.folder / ".modeldeploy-verified.json"

    @property
    def lock(self) -> Path:
        return self.root / ".locks" / self.folder_name / "modeldeploy.lock"

    def blob(self, etag: str) -> Path:
        return self.folder / "blobs" / etag

    def partial(self, etag: str) -> Path:
        return self.folder / "blobs" / f"{etag}.partial"

    def remove_partials(self) -> None:
        """Remove what unfinished downloads left. Called with the lock held."""
        for partial in self.folder.glob("blobs/*.partial"):
            partial.unlink(missing_ok=True)

    def damaged(self, etag: str) -> Path:
        return self.folder / "blobs" / f"{etag}.damaged"

    def snapshot(self, commit: str) -> Path:
        return self.folder / "snapshots" / commit

    def converted(self, etag: str) -> Path:
        """Where a worker keeps what it made of the GGUF file ``etag``: it goes with the model."""
        return self.folder / "modeldeploy-gguf" / etag

    def ref(self, revision: str) -> Path:
        return self.folder / "refs" / revision

    def commit_of(self, revision: str) -> str | None:
        """The commit that ``revision`` meant when it was last fetched."""
        if is_commit(revision):
            return revision
        try:
            commit = self.ref(revision).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return None
        return commit if is_commit(commit) else None

    def write_ref(self, revision: str, commit: str) -> None:
        """Remember what ``revision`` means, as huggingface_hub does; a commit needs no memory."""
        if revision == commit or self.commit_of(revision) == commit:
            return
        ref = self.ref(revision)
        ref.parent.mkdir(parents=True, exist_ok=True)
        temporary = _beside(ref)
        temporary.write_text(commit, "utf-8")
        temporary.replace(ref)

    def link(self, commit: str, name: str, etag: str) -> None:
        """Make ``snapshots/<commit>/<name>`` show the blob: a relative link, put there whole."""
        pointer = self.snapshot(commit) / name
        target = os.path.relpath(self.blob(etag), pointer.parent)
        if pointer.is_symlink() and str(pointer.readlink()) == target:
            return
        pointer.parent.mkdir(parents=True, exist_ok=True)
        temporary = _beside(pointer)
        try:
            temporary.symlink_to(target)
        except OSError:  # a file system without links: the Hub's layout keeps a copy there too
            shutil.copyfile(self.blob(etag), temporary)
        temporary.replace(pointer)

    def read_snapshot(self, commit: str) -> Listing | None:
        """The listing of a snapshot that another tool made: the links name the contents."""
        snapshot = self.snapshot(commit)
        files: dict[str, RepoFile] = {}
        for path in snapshot.rglob("*"):
            entry = _linked(path)
            name = path.relative_to(snapshot).as_posix()
            if entry and is_safe_name(name):
                files[name] = entry
        return Listing(commit=commit, files=files) if files else None


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")


def _linked(path: Path) -> RepoFile | None:
    if not path.is_symlink() or not path.is_file():
        return None
    etag = path.readlink().name
    return RepoFile(size=path.stat().st_size, etag=etag) if is_etag(etag) else None
