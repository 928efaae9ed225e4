"""Numbers as people read and write them."""

from __future__ import annotations

import re
import time
from datetime import datetime, timezone

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def size(count: float) -> str:
    """Bytes with a decimal unit, as the Hub shows them: ``1.1 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return (
                f"{count:.0f} B" if unit == "B" else f"{count:.{1 if count < 100 else 0}f} {unit}"
            )
        count /= 1000
    return f"{count:.1f} TB"


def bytes_of(raw: str) -> int:
    """Bytes of ``800M``, ``1.5GB`` or a bare number; units as :func:`size` writes them.

    Raises:
        ValueError: none of these.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kMGT]?)B?", raw.strip())
    if found is None:
        raise ValueError(f"{raw!r} is not a size such as 800M or 1.5GB")
    return round(float(found[1]) * 1000.0 ** " kMGT".index(found[2] or " "))


def clock(seconds: float) -> str:
    """``0:07``, ``12:30``, ``1:02:03``."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def span(seconds: float) -> str:
    """The two largest units: ``4s``, ``12m 5s``, ``3h 20m``, ``9d 4h``."""
    left = max(0, int(seconds))
    parts: list[str] = []
    for unit in ("d", "h", "m", "s"):
        count, left = divmod(left, int(_SECONDS[unit]))
        if count or parts:
            parts.append(f"{count}{unit}")
    shown = [part for part in parts[:2] if not part.startswith("0")]
    return " ".join(shown) or "0s"


def moment(raw: str) -> float:
    """Unix seconds of ``10m`` (ago), ``1h30m``, ``2026-01-31T12:00:00Z`` or ``1769860800``.

    A date without a zone is local time, as for Docker.

    Raises:
        ValueError: none of these.
    """
    text = raw.strip()
    if text and _PART.sub("", text) == "":
        return time.time() - sum(float(n) * _SECONDS[unit] for n, unit in _PART.findall(text))
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    return datetime.fromisoformat(re.sub(r"[zZ]\Z", "+00:00", text)).astimezone().timestamp()


def stamp(seconds: float) -> str:
    """RFC 3339 in UTC, with milliseconds."""
    when = datetime.fromtimestamp(seconds, timezone.utc)
    return f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03}Z"
