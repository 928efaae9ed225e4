"""API keys: what a client shows a deployment to be answered.

A key is 256 random bits. Of it only the SHA-256 is kept: nobody finds a key from that by trying, so a
slow, salted hash, which protects what people think up, would cost every request its time and gain
nothing. For the same reason a key that a user brings along must be long. It is hashed where it is made
or read: the supervisor never hears a key, and stores nothing that opens anything.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable

from modeldeploy.errors import UsageError

VARIABLE = "MODELDEPLOY_API_KEY"  # where the command line looks for one
_PREFIX = "mdk_"  # so that those who look for secrets in files find it
_BYTES = 32
_KEY = re.compile(r"[!-~]{32,256}\Z")


def new_key() -> str:
    return _PREFIX + secrets.token_urlsafe(_BYTES)


def checked(key: str) -> str:
    """A key that somebody brings along.

    Raises:
        UsageError: it may be guessed, or cannot be sent in a header. The message does not tell it.
    """
    if not _KEY.match(key):
        raise UsageError(
            "that is no API key: 32 to 256 characters of ASCII, without spaces",
            hint="have one made: modeldeploy keys add NAME",
        )
    return key


def digest_of(key: str | bytes) -> str:
    raw = key.encode("utf-8", "surrogateescape") if isinstance(key, str) else key
    return hashlib.sha256(raw).hexdigest()


def mark_of(digests: Iterable[str]) -> str:
    """One word for a set of keys, by which two processes know that they mean the same; empty for none."""
    known = sorted(digests)
    return hashlib.sha256("".join(known).encode("ascii")).hexdigest()[:16] if known else ""
