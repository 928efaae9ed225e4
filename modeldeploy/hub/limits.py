"""Deadlines and bounds of a fetch, in one place so that tests can shorten them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

MIB = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """Times in seconds, sizes in bytes.

    ``hub_timeout`` is how long the Hub may take to say something about a model, ``stall`` how long
    a transfer may bring nothing; the trickle bounds forbid less than ``trickle_bytes`` in
    ``trickle_window``. ``attempts`` count the tries without a single new byte between them.
    """

    hub_timeout: float = 10.0
    hub_attempts: int = 3
    stall: float = 30.0
    attempts: int = 6
    first_pause: float = 0.5
    longest_pause: float = 8.0
    retry_after_cap: float = 30.0
    trickle_window: float = 60.0
    trickle_bytes: int = 64 * 1024
    parallel: int = 6
    disk_margin: int = 16 * MIB

    def pause(self, failures: int) -> float:
        """How long to wait after the ``failures``-th failure in a row: it doubles, up to a cap."""
        return min(self.longest_pause, self.first_pause * 2.0 ** (failures - 1))


def _seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    try:
        value = float(environ.get(name) or default)
    except ValueError:
        return default
    return value if 0 < value < 86_400 else default


def from_environ(environ: Mapping[str, str] | None = None) -> Limits:
    """The defaults, with huggingface_hub's own two timeouts where the user set them."""
    environ = os.environ if environ is None else environ
    default = Limits()
    return replace(
        default,
        hub_timeout=_seconds(environ, "HF_HUB_ETAG_TIMEOUT", default.hub_timeout),
        stall=_seconds(environ, "HF_HUB_DOWNLOAD_TIMEOUT", default.stall),
    )
