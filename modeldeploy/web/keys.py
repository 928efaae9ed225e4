"""Which requests need an API key, and whether they show one."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Iterable

from starlette.types import Scope

from modeldeploy import apikeys
from modeldeploy.errors import InvalidApiKey
from modeldeploy.web.incoming import Incoming

# What whoever runs things asks: no model is asked, and nothing is told but whether one is there.
OPEN = frozenset({"/health", "/livez", "/readyz", "/v2/health/live", "/v2/health/ready"})
# What is read on the machine itself, without a key there.
_PAGES = frozenset({"/metrics", "/openapi.json", "/docs"})

_WAYS = "Authorization: Bearer KEY, or x-api-key: KEY"


class Keyring:
    """The keys that are answered, by their SHA-256; where there are none, everybody is."""

    def __init__(self, digests: Iterable[str] = ()) -> None:
        known = tuple(digests)
        self.mark = apikeys.mark_of(known)
        self._digests = tuple(map(bytes.fromhex, known))

    def __bool__(self) -> bool:
        return bool(self._digests)

    def check(self, request: Incoming) -> None:
        """
        Raises:
            InvalidApiKey: one is needed, and what was sent is none of ours.
        """
        if not self._digests or _needs_none(request.scope):
            return
        given = _given(request)
        if not given:
            raise InvalidApiKey("this deployment wants an API key", hint=f"send {_WAYS}")
        if not any(map(self._knows, given)):
            raise InvalidApiKey(
                "the API key that was sent is none of this deployment's",
                hint=f"send {_WAYS}; modeldeploy keys ls NAME tells which there are",
            )

    def _knows(self, key: bytes) -> bool:
        """Compared with each, whole, in constant time."""
        digest = hashlib.sha256(key).digest()
        return sum([hmac.compare_digest(digest, known) for known in self._digests]) > 0


def _given(request: Incoming) -> list[bytes]:
    """The keys that are sent. A client's own default (``Bearer none``) does not hide the other one."""
    found = list(request.headers(b"x-api-key"))
    for value in request.headers(b"authorization"):
        scheme, _, token = value.partition(b" ")
        if scheme.lower() == b"bearer":
            found.append(token.strip())
    return [key for key in found if key][:2]


def _needs_none(scope: Scope) -> bool:
    path: str = scope["path"]
    return path in OPEN or (
        (path in _PAGES or path.startswith("/docs/")) and _is_from_this_machine(scope)
    )


def _is_from_this_machine(scope: Scope) -> bool:
    """Over the loopback, or from the very address that was asked."""
    if not scope.get("client") or not scope.get("server"):
        return False
    client = scope["client"][0]
    return ipaddress.ip_address(client).is_loopback or client == scope["server"][0]
