"""Who may ask: the ``Host`` must be ours, an ``Origin`` must be the same or a listed one.

A web page can make a browser send requests to 127.0.0.1, under a name of its own too (DNS
rebinding); these two headers give it away.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable

import psutil

from modeldeploy.errors import Forbidden, MisdirectedRequest
from modeldeploy.web.incoming import Incoming

_LOCAL = frozenset({"127.0.0.1", "localhost", "[::1]"})
_ANY = frozenset({"0.0.0.0", "::", ""})  # noqa: S104  # recognised here, not bound


def own_hosts(host: str) -> frozenset[str]:
    """The names under which a server bound to ``host`` may be asked, without their port."""
    if host not in _ANY:
        return _LOCAL | {_bracketed(host)}
    addresses = {
        _bracketed(address.address.partition("%")[0])
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family in {socket.AF_INET, socket.AF_INET6}
    }
    return _LOCAL | addresses | {socket.gethostname().lower()}


def bracketed(names: Iterable[str]) -> frozenset[str]:
    """As they stand in a ``Host`` header."""
    return frozenset(map(_bracketed, names))


def _bracketed(host: str) -> str:
    return f"[{host.lower()}]" if ":" in host else host.lower()


def check(request: Incoming, hosts: frozenset[str], origins: frozenset[str]) -> None:
    """``origins`` are those of foreign pages that may ask.

    Raises:
        MisdirectedRequest: it is addressed to somebody else. Forbidden: a foreign page sent it.
    """
    named = request.headers(b"host")
    host = named[0].decode("latin-1").lower() if len(named) == 1 else ""
    if _without_port(host) not in hosts:
        raise MisdirectedRequest(
            f"the Host header {host[:100]!r} is not a name of this server",
            hint="ask under 127.0.0.1 or localhost",
        )
    for raw in request.headers(b"origin"):
        origin = raw.decode("latin-1").lower()
        if origin not in origins and origin not in {f"http://{host}", f"https://{host}"}:
            raise Forbidden(
                f"requests from pages of {origin[:100]!r} are refused",
                hint="deploy with --allow-origin to allow them, or ask from a server",
            )


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host
