"""What a model id, and a name in a model's repository, may look like; checked before any of it touches
a path or a URL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Union

from modeldeploy.errors import InvalidModelId

DEFAULT_REVISION = "main"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SEGMENT = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?")
_REVISION_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")
_BUILTIN = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_WEB = re.compile(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/(.+)")
_FORMS = (
    "a model is org/name, org/name@revision or org/name:file.gguf on the Hub, a directory or a "
    "GGUF file, or builtin/NAME"
)
_GGUF = ".gguf"
_FILE_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+ ()=-]*")


def is_safe_name(name: str) -> bool:
    """Whether a name that a repository gives, of a file or a folder, stays inside its snapshot."""
    parts = name.split("/")
    return (
        name.isprintable()
        and "\\" not in name
        and all(part and part not in {".", ".."} for part in parts)
    )


@dataclass(frozen=True)
class HubModel:
    """A repository on the Hub; ``revision`` is a branch, a tag or a commit, ``file`` the GGUF file
    in it that is the model."""

    repo_id: str
    revision: str = DEFAULT_REVISION
    file: str | None = None

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is a full commit, which never changes."""
        return is_commit(self.revision)


@dataclass(frozen=True)
class LocalModel:
    """A directory, or a GGUF file."""

    path: Path


@dataclass(frozen=True)
class BuiltinModel:
    name: str


def is_gguf(name: str) -> bool:
    return name.lower().endswith(_GGUF)


Source = Union[HubModel, LocalModel, BuiltinModel]


def is_commit(revision: str) -> bool:
    return _COMMIT.fullmatch(revision) is not None


def parse(model_id: str, revision: str | None = None) -> Source:
    """What ``model_id`` means.

    Only an absolute path counts as a local directory here: the command line makes paths absolute,
    because the directory it runs in is not the fetcher's.

    Raises:
        InvalidModelId: it is none of the forms; the hint says which there are.
    """
    if not model_id.isprintable():
        raise _invalid(model_id, "it holds characters that cannot be printed")
    if _is_path(model_id):
        return _local(model_id, revision)
    if model_id.startswith("builtin/"):
        return _builtin(model_id, revision)
    return _hub(model_id, revision)


def _invalid(model_id: str, why: str, hint: str = _FORMS) -> InvalidModelId:
    shown = model_id if len(model_id) <= 120 else model_id[:117] + "..."
    return InvalidModelId(f"{shown!r} is not a model id: {why}", hint=hint)


def _is_path(text: str) -> bool:
    return text.startswith(("/", "./", "../", "~")) or text in {".", ".."}


def _local(model_id: str, revision: str | None) -> LocalModel:
    if not model_id.startswith("/"):
        raise _invalid(model_id, "a directory is named by its absolute path")
    if revision is not None:
        raise _invalid(model_id, "a directory has no revisions", hint="leave out --revision")
    return LocalModel(Path(model_id))


def _builtin(model_id: str, revision: str | None) -> BuiltinModel:
    name = model_id.removeprefix("builtin/")
    if revision is not None:
        raise _invalid(model_id, "an embedded model has no revisions", hint="leave out --revision")
    if not _BUILTIN.fullmatch(name):
        raise _invalid(model_id, "embedded models are named with a-z, 0-9 and '-'")
    return BuiltinModel(name)


def _hub(model_id: str, revision: str | None) -> HubModel:
    web = _WEB.fullmatch(model_id)
    if web:
        found = "/".join(web.group(1).split("/")[:2])
        raise _invalid(model_id, "it is a web address", hint=f"give the id alone: {found}")
    named, colon, file = model_id.partition(":")
    repo_id, at, inline = named.partition("@")
    if at and not inline:
        raise _invalid(model_id, "there is no revision after the '@'")
    if inline and revision is not None and inline != revision:
        raise _invalid(
            model_id, f"it names one revision and {revision!r} another", hint="give only one"
        )
    _check_repo(model_id, repo_id)
    return HubModel(
        repo_id,
        _checked_revision(inline or revision or DEFAULT_REVISION),
        _checked_file(model_id, file) if colon else None,
    )


def _checked_file(model_id: str, file: str) -> str:
    """``file``, if it is a GGUF file that stays inside its repository."""
    parts = file.split("/")
    if not is_gguf(file) or not all(map(_FILE_PART.fullmatch, parts)) or ".." in file:
        raise _invalid(model_id, "after the ':' stands the name of a .gguf file")
    return file


def _check_repo(model_id: str, repo_id: str) -> None:
    """The Hub's own rules (huggingface_hub ``validate_repo_id``)."""
    segments = repo_id.split("/")
    if len(segments) > 2:
        raise _invalid(model_id, "it has more than one '/'")
    if not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise _invalid(
            model_id,
            "names hold letters, digits, '-', '_' and '.', and neither start nor end with '-' or '.'",
        )
    if "--" in repo_id or ".." in repo_id or repo_id.endswith(".git"):
        raise _invalid(model_id, "the Hub allows no '--', no '..' and no '.git' at the end")
    if max(map(len, segments)) > 96:
        raise _invalid(model_id, "names have at most 96 characters")


def _checked_revision(revision: str) -> str:
    """``revision``, if it is one git allows and that is safe as a path under ``refs/``."""
    parts = revision.split("/")
    well_formed = all(_REVISION_PART.fullmatch(part) for part in parts)
    if not well_formed or ".." in revision or any(part.endswith(".lock") for part in parts):
        raise InvalidModelId(
            f"{revision!r} is not a revision",
            hint="give a branch, a tag or a commit of the model's repository",
        )
    return revision
