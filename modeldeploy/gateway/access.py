"""Who may use the control API: programs by the token, the dashboard by a session that it is worth.

A session begins with a ticket, which ``modeldeploy dashboard`` makes of the token and which is good
once. It has two halves, and each request must show both. The cookie is out of reach for scripts, but
browsers send it to every port of this host, so to servers of strangers too. The key is kept by the page
in its storage, which is of one origin, port included, and sent in a header. Both are made of the token,
so that a gateway that was started again knows them.
"""

from __future__ import annotations

import hmac
import time
from pathlib import Path
from typing import NamedTuple

from modeldeploy.client import tickets
from modeldeploy.errors import Forbidden, Unauthorized
from modeldeploy.gateway.ended import Ended
from modeldeploy.gateway.visit import Visit

SESSION_SECONDS = 7 * 24 * 3600.0
KEY_HEADER = b"x-modeldeploy-session"
_SAFE = frozenset({"GET", "HEAD"})
_KEPT = "Path=/; HttpOnly; SameSite=Strict"


class Begun(NamedTuple):
    """A session's halves: ``cookie`` as ``Set-Cookie`` has it, ``key`` for the page to keep."""

    cookie: str
    key: str


class Access:
    """``token`` is the API token; in ``ended`` is what somebody has signed out of."""

    def __init__(self, token: str, ended: Path) -> None:
        self._token = token
        self._since = time.time()  # what was redeemed before, nobody remembers: it is refused
        self._redeemed: dict[str, float] = {}
        self._ended = Ended(ended, SESSION_SECONDS)

    def check(self, visit: Visit) -> None:
        """
        Raises:
            Unauthorized; Forbidden: a page of another origin had the browser send it.
        """
        if visit.headers(b"authorization") or not self.has_session(visit):
            self._check_token(visit)
        else:
            _check_origin(visit)

    def _check_token(self, visit: Visit) -> None:
        given = visit.headers(b"authorization")
        scheme, _, token = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        right = hmac.compare_digest(token.strip(), self._token.encode())
        if scheme.lower() != b"bearer" or not right:
            raise Unauthorized(
                "this needs the token of this modeldeploy",
                hint="Authorization: Bearer TOKEN; it is in state/api-token of its home",
            )

    # Sessions.

    def has_session(self, visit: Visit) -> bool:
        return self._session(visit) is not None

    def _session(self, visit: Visit) -> tickets.Statement | None:
        cookie, keys = _cookies(visit).get(_cookie_name(visit), ""), visit.headers(KEY_HEADER)
        said = tickets.read(self._token, tickets.SESSION, cookie)
        if said is None or len(keys) != 1:
            return None
        key = tickets.counterpart(self._token, cookie)
        is_whole = hmac.compare_digest(keys[0], key.encode())
        is_open = said.nonce not in self._ended and time.time() - said.made_at < SESSION_SECONDS
        return said if is_whole and is_open else None

    def end(self, visit: Visit) -> str:
        """Sign out: no copy of the session is good any more. The ``Set-Cookie`` that has the browser
        forget it.

        Raises:
            Forbidden, as :meth:`check`.
        """
        _check_origin(visit)
        if said := self._session(visit):
            self._ended.add(said)
        return f"{_cookie_name(visit)}=; Max-Age=0; {_KEPT}"

    def redeem(self, ticket: str, visit: Visit) -> Begun:
        """The session that a ticket is worth.

        Raises:
            Unauthorized: it is wrong, old or was used; Forbidden, as :meth:`check`.
        """
        _check_origin(visit)
        said = tickets.read(self._token, tickets.TICKET, ticket)
        oldest = max(self._since, time.time() - tickets.TICKET_SECONDS)
        self._redeemed = {word: at for word, at in self._redeemed.items() if at >= oldest}
        if said is None or said.made_at < oldest or said.nonce in self._redeemed:
            raise Unauthorized(
                "this link was used, is too old, or is of another modeldeploy",
                hint="modeldeploy dashboard makes a fresh one",
            )
        self._redeemed[said.nonce] = said.made_at
        session = tickets.sign(self._token, tickets.SESSION)
        cookie = f"{_cookie_name(visit)}={session}; Max-Age={SESSION_SECONDS:.0f}; {_KEPT}"
        return Begun(cookie, tickets.counterpart(self._token, session))


def _check_origin(visit: Visit) -> None:
    """What changes something must say that our own page sent it; what reads must not be a foreign
    page's. (That an ``Origin`` is ours is checked for every request.)"""
    sites = visit.headers(b"sec-fetch-site")
    if visit.method in _SAFE:
        is_ours = sites in ([], [b"same-origin"], [b"none"])
    else:
        is_ours = bool(visit.headers(b"origin")) or sites == [b"same-origin"]
    if not is_ours:
        raise Forbidden(
            "only the dashboard's own page may ask this with its session",
            hint="programs send the token: Authorization: Bearer TOKEN",
        )


def _cookie_name(visit: Visit) -> str:
    """Browsers keep cookies by host, whatever the port; each gateway's is its own."""
    host = visit.headers(b"host")[0].decode("latin-1")
    return f"modeldeploy-{host.rpartition(':')[2] if host[-1].isdigit() else 80}"


def _cookies(visit: Visit) -> dict[str, str]:
    pairs = b"; ".join(visit.headers(b"cookie")).decode("latin-1").split(";")
    return {name.strip(): value for name, _, value in (pair.partition("=") for pair in pairs)}
