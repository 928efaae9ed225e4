"""Logs of processes that serve no model: a line a record, rotated, never a reason to stop."""

from __future__ import annotations

import logging
import logging.handlers
import os
import time
from io import TextIOWrapper
from pathlib import Path

from modeldeploy import paths
from modeldeploy.settings import Settings


class _PrivateLog(logging.handlers.RotatingFileHandler):
    """Rotates, and its files are 0600 whatever the umask (which children would inherit)."""

    def _open(self) -> TextIOWrapper:
        fd = paths.private_open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        return TextIOWrapper(os.fdopen(fd, "ab"), encoding="utf-8", write_through=True)


def set_up(file: Path | None, settings: Settings) -> None:
    """Log to ``file``, or to standard error where there is none."""
    handler: logging.Handler = logging.StreamHandler()
    if file:
        handler = _PrivateLog(file, maxBytes=settings.log_max_bytes, backupCount=settings.log_files)
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s")
    formatter.converter = time.gmtime
    formatter.datefmt = "%Y-%m-%dT%H:%M:%S"
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.raiseExceptions = False  # a full disk stops logs, not the process
