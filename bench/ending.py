"""A benchmark that is told to end (SIGTERM) ends what it has started as well, as at Ctrl-C."""

from __future__ import annotations

import signal
import sys


def heed() -> None:
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
