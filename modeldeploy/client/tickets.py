"""Statements that only who knows the API token can make: a link to the dashboard, a session of it.

Each is ``WHEN.NONCE.MAC``: Unix milliseconds, a random word, and HMAC-SHA256 of both and of the
purpose under the token. So nothing needs to be stored for them to be believed later.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from typing import NamedTuple

TICKET, SESSION = "ticket", "session"
_COUNTERPART = "counterpart"
TICKET_SECONDS = 300.0
_NONCE_BYTES = 16


class Statement(NamedTuple):
    """``made_at`` is Unix seconds; no two statements have one ``nonce``."""

    made_at: float
    nonce: str


def sign(token: str, purpose: str) -> str:
    said = f"{time.time() * 1000:.0f}.{secrets.token_urlsafe(_NONCE_BYTES)}"
    return f"{said}.{_mac(token, purpose, said)}"


def counterpart(token: str, statement: str) -> str:
    """What belongs to a signed statement, and who has that alone cannot tell."""
    return _mac(token, _COUNTERPART, statement)


def read(token: str, purpose: str, text: str) -> Statement | None:
    """What ``text`` states, or None where it was not signed for this."""
    said, _, mac = text.rpartition(".")
    if not hmac.compare_digest(mac.encode(), _mac(token, purpose, said).encode()):
        return None
    when, _, nonce = said.partition(".")
    return Statement(int(when) / 1000, nonce)


def _mac(token: str, purpose: str, said: str) -> str:
    return hmac.new(token.encode(), f"{purpose}.{said}".encode(), hashlib.sha256).hexdigest()
