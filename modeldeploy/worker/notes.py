"""What was measured, in small files where graphs are kept: the next worker need not measure it again."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from modeldeploy import paths

log = logging.getLogger(__name__)

T = TypeVar("T")


def read(file: Path, kind: type[T]) -> T | None:
    """What the file says; None where there is none that can be read."""
    with contextlib.suppress(OSError, msgspec.DecodeError):  # of which ValidationError is one
        found = msgspec.json.decode(file.read_bytes(), type=kind)
        with contextlib.suppress(OSError):  # a cache that may only be read
            os.utime(file)  # what is not read for long is removed (compute/pruning.py)
        return found
    return None


def write(file: Path, found: Any) -> None:
    """Keep it, whole, where that is possible."""
    unfinished = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(unfinished, "wb", opener=paths.private_open) as out:
            out.write(msgspec.json.encode(found))
        unfinished.replace(file)
    except OSError as error:  # a full disk: it is measured again the next time
        log.info("what was measured cannot be kept: %s", error)
