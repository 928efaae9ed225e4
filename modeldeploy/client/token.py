"""The token that the control API wants over TCP: whoever can read the home's files has it."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from modeldeploy.paths import private_open

_BYTES = 32


def api_token(file: Path) -> str:
    """The token in ``file``, which is made if it is missing, and 0600 in any case."""
    for _ in range(2):
        with contextlib.suppress(FileNotFoundError):
            if found := file.read_text("ascii").strip():
                file.chmod(0o600)
                return found
            file.unlink()
        _make(file)
    return file.read_text("ascii").strip()


def _make(file: Path) -> None:
    """Whole or not at all; one that another process has just made stays."""
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    with open(draft, "w", opener=private_open) as drafted:
        drafted.write(secrets.token_urlsafe(_BYTES) + "\n")
    with contextlib.suppress(FileExistsError):
        os.link(draft, file)
    draft.unlink()
